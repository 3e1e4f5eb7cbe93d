"""Lie derivative of a model's probabilities and layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from capsbench.capsules.backends import routing_backend
from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import (
    COMMON_LAYERS,
    PROBABILITIES,
    capture_activations,
    choose_layers,
)
from capsbench.measures._config import MeasureConfig, TestSplit, require_distinct
from capsbench.measures._derivatives import Derivative, Direction, lie_derivatives
from capsbench.measures._figures import LayerFigureSpec, LineSpec
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._measure import Measure, MeasureContext, ValueSpec
from capsbench.measures._nonfinite import drop_nonfinite
from capsbench.measures._observations import observe_layer, observe_layer_derivative
from capsbench.measures._receptive_field import interior_positions, scalar_field
from capsbench.measures._result import Array, MeasureResult, index_name
from capsbench.profiling.evaluation_mode import evaluation_mode
from capsbench.values import Quantity

BATCH_SIZE = 20  # the textbook form of routing stores all votes, and their derivatives
INVARIANCE, EQUIVARIANCE = "lie_invariance", "lie_equivariance"
END_TO_END = (INVARIANCE, PROBABILITIES)


class LieDerivativeConfig(MeasureConfig):
    """Arguments of the Lie derivative.

    Attributes:
        directions: Movements of the images: ``shift_x`` and ``shift_y`` (per pixel), ``rotation``
            and ``shear`` (per degree), ``scale`` (per unit of log scale), and ``tilt_x`` and
            ``tilt_y`` (per degree), which have to be named.
        layers: Names of layers. Default: all that the model declares, ``pixels`` and
            ``probabilities``.
        images: Largest number of images, the classes in near-equal numbers.
    """

    measure: Literal["lie-derivative"]
    directions: tuple[Direction, ...] = Field(
        default=("shift_x", "shift_y", "rotation", "scale", "shear"), min_length=1
    )
    layers: tuple[str, ...] | None = None
    images: int = Field(default=50, ge=2)

    @property
    def required_splits(self) -> tuple[TestSplit, ...]:
        """The familiar images."""
        return ("familiar",)

    @property
    def num_progress_steps(self) -> int:
        """One step per direction."""
        return len(self.directions)

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_distinct("directions", self.directions)
        require_distinct("layers", self.layers or ())
        return self


class LieDerivative(Measure[LieDerivativeConfig]):
    """Rate at which probabilities and features change as the image begins to move.

    The derivative L f(x) of f(T_t x) at t = 0 is exact, by forward-mode differentiation; no step
    size is chosen. For maps, L f(x) of T_(-t) f(T_t x) is computed too, which is 0 if they move as
    the image does. It covers the positions that do not see the border of the image
    (`capsbench.measures._receptive_field`). Presences of capsules at positions are maps; poses also
    turn with the image and are not warped back.

    Routing is computed in its textbook form. Memory grows with the votes for 20 images.
    """

    config = LieDerivativeConfig
    revision = 2
    controlled = True  # random features change slowly as well
    outputs = ()  # only layers
    source = "Gruver et al. (2022), 'The Lie Derivative for Measuring Learned Equivariance'"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "absolute_derivative": ValueSpec(
            "E mean_c |L p_c(x)| of the probabilities of the classes, per unit of the direction."
        ),
        "squared_derivative": ValueSpec("E |L p(x)|² of the probabilities of the classes."),
        INVARIANCE: ValueSpec(
            "√(E |L f(x)|² / E |f(x) − f(x′)|²) of a layer: its rate of change, relative to the "
            "distance between two images."
        ),
        EQUIVARIANCE: ValueSpec("The same of a map that is warped back, T_(−t) f(T_t x)."),
    }
    figures: ClassVar = (
        LayerFigureSpec(
            name="lie-derivative",
            title="Lie derivative of features",
            axis="rate",
            lines=(
                LineSpec(INVARIANCE, "features"),
                LineSpec(EQUIVARIANCE, "features, moved back"),
            ),
            references=(0.0,),
            caption=(
                "The root mean square derivative of a layer's features at the unmoved image, "
                "relative to the root mean square distance between the features of two images: per "
                "pixel of shift, per degree of rotation, shear and tilt, per unit of log scale. Of "
                "the features themselves, 0 means invariance; of a feature map that is moved back, "
                "0 means equivariance. There is no step size: the derivative of a smoothly "
                "interpolated image is exact. Source: Gruver et al. (2022)."
            ),
        ),
    )

    @classmethod
    def needs_gradient(cls, quantity: Quantity) -> bool:
        """Return True: each value is a derivative."""
        return True

    @classmethod
    @torch.no_grad()
    def compute(
        cls,
        config: LieDerivativeConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the derivatives on familiar test images.

        Raises:
            NotMeasuredError: An operation of the model has no forward derivative.
        """
        from capsbench.metrics.lie_derivative import MeanLieDerivative  # imports torchmetrics

        rows = subset_rows(data, config.images)
        batches = [
            (batch.images, batch.index)
            for batch in familiar_batches(data, context.device, rows, batch_size=BATCH_SIZE)
        ]
        layers = choose_layers(model, config.layers)
        layers |= choose_layers(model, [PROBABILITIES])
        arrays: dict[str, Array] = {index_name(): _concatenate([index for _, index in batches])}
        numbers = list[tuple[Quantity, Tensor]]()
        with evaluation_mode(model), routing_backend(model, "textbook"):
            positions, not_warped = _positions(model, layers, batches[0][0])
            for direction in config.directions:
                metrics = dict[tuple[str, str], MeanLieDerivative]()
                per_image = list[Tensor]()
                for images, _ in batches:
                    derivatives = _derivatives(model, layers, positions, images, direction)
                    for key, (value, derivative) in derivatives.items():
                        if key[0] == INVARIANCE:
                            observe_layer(key[1], value)
                            observe_layer_derivative(key[1], derivative)
                        metric = metrics.setdefault(key, MeanLieDerivative(value.shape[1:]))
                        metric.to(value.device).update(value, derivative)
                        if key == END_TO_END:
                            per_image.append(derivative.abs().mean(dim=1))
                for (name, layer), metric in metrics.items():
                    means = metric.compute()
                    quantity = Quantity(metric=name, factor=direction, layer=layer)
                    numbers.append((quantity, means["relative"]))
                    if (name, layer) == END_TO_END:
                        absolute, squared = (
                            quantity.model_copy(update={"metric": f"{term}_derivative"})
                            for term in ("absolute", "squared")
                        )
                        numbers += [(absolute, means["absolute"]), (squared, means["squared"])]
                        arrays[absolute.name] = _concatenate(per_image)
                context.advance()
        values, undefined = drop_nonfinite((*number, len(rows)) for number in numbers)
        return MeasureResult(values, arrays, (*not_warped, *undefined))


def _positions(
    model: Model, layers: Mapping[str, LayerOfInterest], images: Tensor
) -> tuple[dict[str, Tensor], list[str]]:
    """Return the positions of each map to warp back, (H, W) bool, and notes on the others."""
    with_known_positions = {*model.layers_of_interest(), *COMMON_LAYERS}
    result, notes = dict[str, Tensor](), list[str]()
    scalar = {name: layer for name, layer in layers.items() if layer.kind != "pose"}
    for name, inside in interior_positions(model, scalar, images).items():
        if name not in with_known_positions:
            problem = "the model's layers_of_interest() does not give the stride of its positions"
        elif not inside.any():
            problem = "all of its positions, or their neighbours, see the border of the image"
        else:
            result[name] = inside
            continue
        notes.append(f"layer '{name}' is not moved back: {problem}")
    return result, notes


def _derivatives(
    model: Model,
    layers: Mapping[str, LayerOfInterest],
    positions: Mapping[str, Tensor],
    images: Tensor,
    direction: Direction,
) -> dict[tuple[str, str], Derivative]:
    """Return all derivatives of a batch by metric and layer."""

    def outputs(images: Tensor) -> dict[tuple[str, str], Tensor]:
        with capture_activations(model, layers) as captured:
            model(images)
        result = {(INVARIANCE, name): captured[name] for name in layers}
        for name in positions:
            field = scalar_field(layers[name], captured[name])
            assert field is not None
            result[EQUIVARIANCE, name] = field
        return result

    grids = {(EQUIVARIANCE, name): (layers[name].stride, layers[name].offset) for name in positions}
    derivatives = lie_derivatives(outputs, images, direction, grids)
    for name, inside in positions.items():
        value, derivative = derivatives[EQUIVARIANCE, name]
        derivatives[EQUIVARIANCE, name] = Derivative(value[..., inside], derivative[..., inside])
    if images.device.type == "mps":  # it has no float64 for sums
        return {
            key: Derivative(each.value.cpu(), each.derivative.cpu())
            for key, each in derivatives.items()
        }
    return derivatives


def _concatenate(parts: list[Tensor]) -> Array:
    result: Array = torch.cat(parts).cpu().numpy()
    return result
