"""Spatial equivariance error of a trained model's feature maps, view by view."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache

import torch
from torch import Tensor

from capsbench import measures
from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.images import ImageData
from capsbench.measures.activations import PIXELS, choose_layers, watching
from capsbench.measures.chosen_images import chosen_batches, chosen_rows
from capsbench.measures.errors_by_view import Pair, measure_errors
from capsbench.measures.measured import Measured
from capsbench.measures.moved_maps import MapMove
from capsbench.measures.paired_views import at_rest
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import Size

POSES = "poses also turn in themselves, not from place to place alone: measure linear-equivariance"
NO_PLACES = "it has no places"
BORDERS = (
    "places that look beyond the image's border count, where padding does not move with the image: "
    "give a margin of half a receptive field, in pixels, to leave them out"
)
NO_STRIDE = "its stride is not known: name it in the model's layers_of_interest()"


@torch.inference_mode()
def measure(
    entry: measures.SpatialEquivariance,
    model: Model,
    data: ImageData,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure feature maps, and the presences of capsules on a map.

    Keys are ``equivariance/spatial/error@<layer>`` and others, see
    `capsbench.measures.errors_by_view.measure_errors`; the error is defined in
    `capsbench.measures.moved_maps.spatial_equivariance_error`. What interpolation alone does, there
    and back, is in ``equivariance/interpolation/error@<layer>``: about half of it is in the errors.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each view, for a progress bar.
    """
    layers = choose_layers(model, entry.layers)
    named = {PIXELS, *model.layers_of_interest()}
    problems = _problems(model, layers, named, data, device)
    chosen = {name: layer for name, layer in layers.items() if name not in problems}
    image_size: Size = (data.image_shape[1], data.image_shape[2])

    @cache
    def move(view: GridView, name: str, size: Size) -> MapMove:
        layer = chosen[name]
        return MapMove.of(
            Views.of_grid([view]),
            size,
            image_size,
            stride=layer.stride,
            offset=layer.offset,
            margin=entry.margin / layer.stride,
        )

    def compared(view: GridView, name: str, f_x: Tensor, f_gx: Tensor) -> dict[str, Pair]:
        maps_x, maps_gx = (_as_map(chosen[name], each) for each in (f_x, f_gx))
        moved = move(view, name, (maps_x.shape[-2], maps_x.shape[-1]))
        return {
            "equivariance/spatial": moved.pair(maps_x, maps_gx),
            "equivariance/interpolation": moved.there_and_back(maps_x),
        }

    views = entry.grid.views()
    found = measure_errors(compared, chosen, views, entry.images, model, data, device, advance)
    notes = tuple(f"{name} is left out: {why}" for name, why in problems.items())
    if not entry.margin:
        notes += (BORDERS,)
    return found._replace(notes=notes + found.notes)


def _problems(
    model: Model,
    layers: dict[str, LayerOfInterest],
    named: set[str],
    data: ImageData,
    device: str,
) -> dict[str, str]:
    """Why layers cannot be moved as maps; found by a look at one image."""
    batch = next(chosen_batches(data, device, chosen_rows(data, 1), at_rest()))
    with watching(model, layers) as seen:
        model(batch.images)
    problems = {}
    for name, layer in layers.items():
        if layer.kind == "pose":
            problems[name] = POSES
        elif layer.kind == "vector" or seen[name].dim() != 4:
            problems[name] = NO_PLACES
        elif name not in named and seen[name].shape[-2:] != batch.images.shape[-2:]:
            problems[name] = NO_STRIDE
    return problems


def _as_map(layer: LayerOfInterest, output: Tensor) -> Tensor:
    """(N, C, H, W); the presences of capsules on a map come as (N, H, W, C)."""
    return output.permute(0, 3, 1, 2) if layer.kind == "presence" else output
