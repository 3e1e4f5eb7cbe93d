"""Spatial equivariance error of feature maps."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import PIXELS, capture_activations, choose_layers
from capsbench.measures._config import LayerMeasureConfig
from capsbench.measures._errors_by_view import Pair, error_metrics, errors_by_view
from capsbench.measures._figures import LayerFigureSpec, LineSpec
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._measure import Measure, MeasureContext, ValueSpec
from capsbench.measures._nonfinite import drop_nonfinite
from capsbench.measures._paired_activations import identity_view
from capsbench.measures._pose_fits import PoseFits, as_map
from capsbench.measures._result import MeasureResult
from capsbench.measures._warped_maps import MapWarp
from capsbench.values import Quantity, Value, select
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import Size

NO_POSITIONS = "it is not a map"
NO_STRIDE = "its stride is not known: name it in the model's layers_of_interest()"
BORDERS = (
    "positions that see beyond the image's border count, although padding does not move with the "
    "image: give a margin of half a receptive field, in pixels, to leave them out"
)


class SpatialEquivarianceConfig(LayerMeasureConfig):
    """Arguments of the spatial equivariance error.

    Attributes:
        grid: The views: warps of the whole image.
        layers: Names of layers, see `LayerMeasureConfig`. Layers without positions are left out.
        images: Largest number of test images, the same for every model.
        margin: Pixels at the border of the image; positions of maps there are left out, before and
            after the warp. Half a receptive field, if it reaches beyond the border.
    """

    measure: Literal["spatial-equivariance"]
    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_warps(self) -> Self:
        if others := [name for name in self.grid.factors() if FACTORS[name].kind != "warp"]:
            raise ValueError(
                f"spatial-equivariance moves maps, which {', '.join(others)} cannot do: sweep "
                "rotation, shift, scale, shear or tilt"
            )
        if self.grid.part is not None:
            raise ValueError("spatial-equivariance moves the whole image: leave grid.part out")
        return self


class SpatialEquivariance(Measure[SpatialEquivarianceConfig]):
    """Difference between the map of a moved image and the moved map, f(Tx) and T f(x).

    The error is that of the invariance error with T f(x) in place of f(x): 0 if the map moves as
    the image does, 1 if the two differ as the maps of different images do. T moves the positions of
    a map as it moves the pixels at their centres, and is interpolated bilinearly; the interpolation
    error is that of a map that is warped and warped back, of which an equivariant map has about
    half. Maps are those of convolutions, and the presences and poses of capsules at positions.

    Poses also turn with the image. So for each view one affine map of the pose, the same at all
    positions, is fitted to other images; the pose error is what it leaves of the spatial error. See
    `capsbench.metrics.pose_equivariance.PoseFit`.
    """

    config = SpatialEquivarianceConfig
    revision = 2
    source = "the article, equation 3"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        **error_metrics(
            "spatial",
            "√E d²(f(Tx), T f(x)) divided by the geometric mean of √E d²(T f(x), T f(x′)) and "
            "√E d²(f(Tx), f(Tx′)), over the positions that stay within the map.",
        ),
        **error_metrics(
            "interpolation", "The same error of a map f(x) and f(x) warped by T and back."
        ),
        "explained": ValueSpec(
            "1 − E|f(Tx) − A T f(x)|² / E|f(Tx) − T f(x)|² of poses on held-out images, A the "
            "affine map of poses."
        ),
        "shuffled_explained": ValueSpec(
            "The same with A fitted to poses of other images at the same positions, the control."
        ),
        "gain_over_control": ValueSpec(
            "1 − E|f(Tx) − A T f(x)|² over the smaller error of the two controls: no change, and "
            "the map fitted to other images."
        ),
        "distance_from_identity": ValueSpec(
            "Mean over types of capsules of |A − I| / √d, d the numbers of a pose."
        ),
        "pose_error": ValueSpec("The spatial error times √(1 − explained)."),
    }
    figures: ClassVar = (
        LayerFigureSpec(
            name="spatial-equivariance",
            title="Spatial equivariance error",
            axis="error",
            lines=(
                LineSpec("spatial_error", "error"),
                LineSpec("pose_error", "error with a fitted map of poses"),
                LineSpec("interpolation_error", "moved forth and back", control=True),
            ),
            references=(0.0, 1.0),
            caption=(
                "The difference between the feature map of a moved image and the moved feature map "
                "of the image: f(Tx) = T f(x) at 0; at 1 the two maps differ like the maps of "
                "different images. The control is the loss when the map itself is moved forth and "
                "back. That interpolates twice, so a perfect map would have half of this error. "
                "The definition is that of the invariance error with T f(x) in place of f(x). T "
                "acts on the map's own grid; positions that leave it are excluded. Poses of "
                "capsules also change their own values, so one affine map of the pose, the same at "
                "all positions, is fitted to other images. Source: the article's equation 3."
            ),
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: SpatialEquivarianceConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the errors and the fits of poses; see `errors_by_view` and `PoseFits`."""
        candidates = choose_layers(model, config.layers)
        problems = _problems(model, candidates, data, context.device)
        layers = {name: layer for name, layer in candidates.items() if name not in problems}
        image_size: Size = (data.image_shape[1], data.image_shape[2])

        @cache
        def warp_of(view: GridView, name: str, size: Size) -> MapWarp:
            layer = layers[name]
            return MapWarp.of(
                Views.of_grid([view]),
                size,
                image_size,
                stride=layer.stride,
                offset=layer.offset,
                margin=config.margin / layer.stride,
            )

        def compare(view: GridView, name: str, f_x: Tensor, f_gx: Tensor) -> dict[str, Pair]:
            maps_x, maps_gx = (as_map(layers[name], output) for output in (f_x, f_gx))
            warp = warp_of(view, name, (maps_x.shape[-2], maps_x.shape[-1]))
            return {
                "spatial": warp.pair(maps_x, maps_gx),
                "interpolation": warp.round_trip(maps_x),
            }

        poses = {name: layer for name, layer in layers.items() if layer.kind == "pose"}
        fits = PoseFits(poses, warp_of)
        result = errors_by_view(compare, layers, config, model, data, context, fits)
        n = len(result.per_image["index"])
        values, undefined = drop_nonfinite(
            (quantity, value, n) for quantity, value in _with_errors(fits.values(), result.values)
        )
        notes = tuple(f"{name} is left out: {problem}" for name, problem in problems.items())
        if not config.margin:
            notes += (BORDERS,)
        return MeasureResult(
            [*result.values, *values], result.per_image, notes + tuple(result.notes) + undefined
        )


def _problems(
    model: Model, layers: Mapping[str, LayerOfInterest], data: ImageDataModule, device: str
) -> dict[str, str]:
    """Return the reasons why layers cannot be warped as maps, by layer, from one image."""
    with_known_stride = {PIXELS, *model.layers_of_interest()}
    batch = next(familiar_batches(data, device, subset_rows(data, 1), identity_view()))
    with capture_activations(model, layers) as outputs:
        model(batch.images)
    problems = {}
    for name, layer in layers.items():
        min_dim = 5 if layer.kind == "pose" else 4  # of a pose that is a matrix 6
        if layer.kind == "vector" or outputs[name].dim() < min_dim:
            problems[name] = NO_POSITIONS
        elif name not in with_known_stride and outputs[name].shape[-2:] != batch.images.shape[-2:]:
            problems[name] = NO_STRIDE
    return problems


def _with_errors(
    fits: Sequence[tuple[Quantity, Tensor]], values: Sequence[Value]
) -> Iterator[tuple[Quantity, Tensor]]:
    """Yield the values of the fits, and the pose errors that they leave of the spatial errors."""
    spatial = {
        (value.factor, value.view, value.layer): value.value
        for value in select(values, metric="spatial_error")
    }
    yield from fits
    for quantity, explained in fits:
        place = (quantity.factor, quantity.view, quantity.layer)
        if quantity.metric == "explained" and place in spatial:
            remaining = (1 - explained).clamp_min(0).sqrt()
            yield quantity.model_copy(update={"metric": "pose_error"}), spatial[place] * remaining
