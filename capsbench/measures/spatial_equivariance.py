"""Spatial equivariance error of a trained model's feature maps, view by view."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache

import torch
from torch import Tensor

from capsbench import measures
from capsbench.contracts import Batch, LayerOfInterest, Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import PIXELS, capture_activations, choose_layers
from capsbench.measures._affine_maps import divide
from capsbench.measures._errors_by_view import Pair, measure_errors
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._nonfinite import defined
from capsbench.measures._paired_activations import Activations, identity_view
from capsbench.measures._pose_maps import FibreEquivariance, FibreFit, over_fits
from capsbench.measures._result import Measured
from capsbench.measures._warped_maps import MapMove
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import Size

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
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure feature maps, and the presences and poses of capsules on a map.

    Keys are ``equivariance/spatial/error@<layer>`` and others, see
    `capsbench.measures._errors_by_view.measure_errors`; the error is defined in
    `capsbench.measures._warped_maps.spatial_equivariance_error`. What interpolation alone does, there
    and back, is in ``equivariance/interpolation/error@<layer>``: about half of it is in the errors.

    Poses also change in themselves. So for each view ``equivariance/fibre/<share>@<layer>`` says
    how much of what is left an affine map explains, the same at all places, of
    `capsbench.measures._pose_maps.FibreFit`; and ``equivariance/fibre/error@<layer>`` is the error
    that is left with it, ``equivariance/spatial/error@`` times the root of what is not explained.

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
    fibres = _Fibres({name: each for name, each in chosen.items() if each.kind == "pose"}, move)
    found = measure_errors(
        compared, chosen, views, entry.images, model, data, device, advance, fibres
    )
    values, undefined = defined(_with_errors(fibres.values(), found.values))
    notes = tuple(f"{name} is left out: {why}" for name, why in problems.items())
    if not entry.margin:
        notes += (BORDERS,)
    notes += found.notes + undefined
    return found._replace(values=found.values | values, notes=notes)


class _Fibres:
    """What maps of the poses explain: by view, and over all views of a factor together.

    Args:
        layers: Those with poses on a map.
        move: How a view moves the places of a layer's map.
    """

    def __init__(
        self,
        layers: Mapping[str, LayerOfInterest],
        move: Callable[[GridView, str, Size], MapMove],
    ) -> None:
        self.layers = layers
        self.move = move
        self.fits: dict[str, FibreEquivariance] = {}  # of one view after another
        self.by_factor: dict[tuple[str, str], list[FibreFit]] = {}
        self.by_view: dict[str, Tensor] = {}

    def update(self, view: GridView, batch: Batch, f_x: Activations, f_gx: Activations) -> None:
        """Take in a batch of images, as they are stored and from the view."""
        for name, layer in self.layers.items():
            maps = [_as_map(layer, each) for each in (f_x[name], f_gx[name])]
            moved = self.move(view, name, (maps[0].shape[-2], maps[0].shape[-1]))
            places = moved.places.to(maps[0].device)
            types = f_x[name].shape[3]
            still, turned = (
                each[..., places].unflatten(1, (types, -1)) for each in moved.pair(*maps)
            )
            if name not in self.fits:
                # Every process sees the same images: there is nothing to sum up over them.
                self.fits[name] = FibreEquivariance(still.shape[1:], sync_on_compute=False)
                self.fits[name].to(still.device)
            self.fits[name].update(still, turned, divide(batch.index, 0))

    def close(self, view: GridView) -> None:
        """Fit the maps of a view; the next one has other places."""
        for name, fit in self.fits.items():
            found = fit.compute()
            self.by_view |= _shares(view.key, found, name)
            if not view.is_identity:
                self.by_factor.setdefault((view.factor, name), []).append(found)
        self.fits.clear()

    def values(self) -> dict[str, Tensor]:
        """All values by key, also those that are undefined."""
        found = dict(self.by_view)
        for (factor, name), fitted in self.by_factor.items():
            found |= _shares(factor, over_fits(fitted), name)
        return found


def _shares(prefix: str, found: FibreFit, name: str) -> dict[str, Tensor]:
    return {
        f"{prefix}/equivariance/fibre/{share}@{name}": value
        for share, value in found.shares.items()
    }


def _with_errors(fibres: dict[str, Tensor], known: Mapping[str, float]) -> dict[str, Tensor]:
    """The shares, and the errors that are left."""
    found = dict(fibres)
    for key, explained in fibres.items():
        before = key.replace("/fibre/explained@", "/spatial/error@")
        if before != key and before in known:
            left = (1 - explained).clamp_min(0).sqrt()
            found[key.replace("/explained@", "/error@")] = known[before] * left
    return found


def _problems(
    model: Model,
    layers: dict[str, LayerOfInterest],
    named: set[str],
    data: ImageDataModule,
    device: str,
) -> dict[str, str]:
    """Why layers cannot be moved as maps; found by a look at one image."""
    batch = next(familiar_batches(data, device, subset_rows(data, 1), identity_view()))
    with capture_activations(model, layers) as seen:
        model(batch.images)
    problems = {}
    for name, layer in layers.items():
        with_places = 5 if layer.kind == "pose" else 4  # or 6, where a pose is a matrix
        if layer.kind == "vector" or seen[name].dim() < with_places:
            problems[name] = NO_PLACES
        elif name not in named and seen[name].shape[-2:] != batch.images.shape[-2:]:
            problems[name] = NO_STRIDE
    return problems


def _as_map(layer: LayerOfInterest, output: Tensor) -> Tensor:
    """(N, C, H, W) of a map; presences come as (N, H, W, C), poses as (N, H, W, C, D or 4, 4)."""
    if layer.kind == "pose":
        return output.flatten(4).permute(0, 3, 4, 1, 2).flatten(1, 2)
    return output.permute(0, 3, 1, 2) if layer.kind == "presence" else output
