"""The Lie derivative of a trained model: of its probabilities, and layer by layer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.capsules.backends import routing_backend
from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.images import ImageDataModule
from capsbench.measures import Direction, LieDerivative
from capsbench.measures._activations import (
    COMMON_LAYERS,
    PROBABILITIES,
    capture_activations,
    choose_layers,
)
from capsbench.measures._derivatives import Derivative, MeanLieDerivative, lie_derivatives
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._nonfinite import defined
from capsbench.measures._receptive_field import as_map, places_inside
from capsbench.measures._result import Measured
from capsbench.profiling.evaluation_mode import evaluation_mode

BATCH = 20  # images: the textbook's routing stores all votes, and their derivatives
STAYS, MOVED = "lie/invariance@", "lie/equivariance@"
END_TO_END = STAYS + PROBABILITIES


@torch.no_grad()
def measure(
    entry: LieDerivative,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on familiar test images.

    Keys begin with the direction. ``lie/absolute@probabilities`` is E mean_c |L p_c(x)| over the
    probabilities of the classes, end to end, and ``lie/squared@probabilities`` E |L p(x)|^2.
    ``lie/invariance@<layer>`` is sqrt(E |L f(x)|^2 / E |f(x) - f(x')|^2), where L f(x) is the
    derivative of f(T_t x) at t = 0: how fast the layer changes, as a share of the distance between
    two images. ``lie/equivariance@<layer>`` is the same for maps that are moved back, T_(-t)
    f(T_t x): 0 where they move as the image does. It is about places that do not look at the
    image's border (`capsbench.measures._receptive_field`). The presences of capsules at places are maps
    too; their poses also change in themselves, and are not moved back.

    Routing is computed in the form of the textbook. Memory grows with the votes for 20 images.

    Args:
        entry: The measure's arguments.
        model: The trained model, on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each direction.
    """
    try:
        return _measure(entry, model, data, device, advance)
    except RuntimeError as error:  # a NotImplementedError is one
        why = str(error).partition("\n")[0]
        # What torch says of an operation without a forward derivative, and of a function of the
        # user's own that functorch cannot look into.
        if not isinstance(error, NotImplementedError) and "functorch" not in str(error):
            raise
        note = f"nothing is derived: an operation of the model has no forward derivative ({why})"
        return Measured({}, [], 0, {}, (note,))


def _measure(
    entry: LieDerivative,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    rows = subset_rows(data, entry.images)
    batches = [(b.images, b.index) for b in familiar_batches(data, device, rows, batch_size=BATCH)]
    layers = choose_layers(model, entry.layers)
    layers |= choose_layers(model, [PROBABILITIES])
    samples: dict[str, NDArray[Any]] = {"index": _array([index for _, index in batches])}
    values: dict[str, Tensor] = {}
    with evaluation_mode(model), routing_backend(model, "textbook"):
        places, left_out = _places(model, layers, batches[0][0])
        for direction in entry.directions:
            metrics = dict[str, MeanLieDerivative]()
            speeds = list[Tensor]()
            for images, _ in batches:
                for key, found in _derivatives(model, layers, places, images, direction).items():
                    metric = metrics.setdefault(key, MeanLieDerivative(found.value.shape[1:]))
                    metric.to(found.value.device).update(found)
                    if key == END_TO_END:
                        speeds.append(found.derivative.abs().mean(dim=1))
            samples[f"{direction}/absolute"] = _array(speeds)
            for key, metric in metrics.items():
                means = metric.compute()
                values[f"{direction}/{key}"] = means["relative"]
                if key == END_TO_END:
                    for name in ("absolute", "squared"):
                        values[f"{direction}/lie/{name}@{PROBABILITIES}"] = means[name]
            advance()
    numbers, undefined = defined(values)
    return Measured(numbers, [], len(samples["index"]), samples, (*left_out, *undefined))


def _places(
    model: Model, layers: Mapping[str, LayerOfInterest], images: Tensor
) -> tuple[dict[str, Tensor], list[str]]:
    """The places of each layer that is moved back, (H, W) bool, and why others are not."""
    known = {*model.layers_of_interest(), *COMMON_LAYERS}
    result, notes = dict[str, Tensor](), list[str]()
    for name, inside in places_inside(model, layers, images).items():
        if name not in known:
            why = "the model's layers_of_interest() does not say where its places lie"
        elif not inside.any():
            why = "all of its places, or their neighbours, look at the border of the image"
        else:
            result[name] = inside
            continue
        notes.append(f"layer '{name}' is not moved back: {why}")
    return result, notes


def _derivatives(
    model: Model,
    layers: Mapping[str, LayerOfInterest],
    places: Mapping[str, Tensor],
    images: Tensor,
    direction: Direction,
) -> dict[str, Derivative]:
    """All that is differentiated of a batch, by the last part of its key."""

    def look(at: Tensor) -> dict[str, Tensor]:
        with capture_activations(model, layers) as seen:
            model(at)
        outputs = {STAYS + name: seen[name] for name in layers}
        for name in places:
            output = as_map(layers[name], seen[name])
            assert output is not None
            outputs[MOVED + name] = output
        return outputs

    grids = {MOVED + name: (layers[name].stride, layers[name].offset) for name in places}
    found = lie_derivatives(look, images, direction, grids)
    for name, inside in places.items():
        value, derivative = found[MOVED + name]
        found[MOVED + name] = Derivative(value[..., inside], derivative[..., inside])
    if images.device.type == "mps":  # it has no float64 to sum up in
        return {
            key: Derivative(each.value.cpu(), each.derivative.cpu()) for key, each in found.items()
        }
    return found


def _array(parts: list[Tensor]) -> NDArray[Any]:
    joined: NDArray[Any] = torch.cat(parts).cpu().numpy()
    return joined
