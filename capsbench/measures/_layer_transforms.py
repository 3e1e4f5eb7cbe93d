"""Outputs of layers as fields, and ρ(T) f(x) next to f(T x) (article, eq. 3)."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

from torch import Tensor

from capsbench.contracts import LayerOfInterest
from capsbench.errors import UserError
from capsbench.measures._errors_by_view import Pair
from capsbench.measures._warped_maps import MapWarp
from capsbench.representations import Representation
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import Size, warp


class LayerTransforms:
    """Transformed outputs of layers, ρ(T) f(x), and the positions at which they are compared.

    Positions move as the pixels at their centres do, see `MapWarp`; then the representation acts on
    the fibres.

    Args:
        layers: The layers by name.
        representations: The representation of each layer by name.
        image_size: (height, width) of the images in pixels.
        margin: Pixels at the border of the image; positions there are left out.
        interior: (H, W) bool by layer, positions that do not see the border of the image. Shifts
            that are exact by construction are compared at these alone, before and after the shift.
    """

    def __init__(
        self,
        layers: Mapping[str, LayerOfInterest],
        representations: Mapping[str, Representation],
        image_size: Size,
        margin: float,
        interior: Mapping[str, Tensor] = MappingProxyType({}),
    ) -> None:
        self.layers = layers
        self.representations = representations
        self.image_size = image_size
        self.margin = margin
        self.interior = interior
        self._warp_of = cache(self._make_warp)
        self._comparable_of = cache(self._find_comparable)

    def pair(self, view: GridView, name: str, f_x: Tensor, f_gx: Tensor) -> Pair:
        """Return ρ(T) f(x) and f(T x) as fields, zero at positions that cannot be compared."""
        representation = self.representations[name]
        x, gx = (self._fields(name, output) for output in (f_x, f_gx))
        matrix = Views.of_grid([view]).matrices(*self.image_size)[0]
        if not representation.moves_positions:
            return self._apply(view, name, x, matrix), gx
        moving, positions = self._warp(view, name, x), self._comparable(view, name, x)
        moved = warp(x.flatten(1, 2), moving.matrix).unflatten(1, x.shape[1:3])
        return self._apply(view, name, moved, matrix).where(positions, 0), gx.where(positions, 0)

    def unchanged(self, view: GridView, name: str, f_x: Tensor, f_gx: Tensor) -> Pair:
        """Return f(x) and f(T x) as fields, at the same positions as `pair`."""
        x, gx = (self._fields(name, output) for output in (f_x, f_gx))
        if not self.representations[name].moves_positions:
            return x, gx
        positions = self._comparable(view, name, x)
        return x.where(positions, 0), gx.where(positions, 0)

    def round_trip(self, view: GridView, name: str, f_x: Tensor) -> Pair:
        """Return f(x) of a layer whose positions move, and the same after both warps."""
        x = self._fields(name, f_x)
        return self._warp(view, name, x).round_trip(x.flatten(1, 2))

    def fibres(self, view: GridView, name: str, f_x: Tensor, f_gx: Tensor) -> Pair:
        """Return `pair` at the P positions that can be compared: (N, C, D, P) each."""
        pair = self.pair(view, name, f_x, f_gx)
        if not self.representations[name].moves_positions:
            return pair[0].flatten(3), pair[1].flatten(3)
        positions = self._comparable(view, name, pair[0])
        x, gx = (each.flatten(1, 2)[..., positions].unflatten(1, each.shape[1:3]) for each in pair)
        return x, gx

    def comparable(self, view: GridView, name: str) -> bool:
        """Check whether a layer with a known interior has any position that `pair` compares."""
        if not self.representations[name].moves_positions or name not in self.interior:
            return True
        height, width = self.interior[name].shape
        return bool(self._comparable_of(view, name, (height, width)).any())

    def _apply(self, view: GridView, name: str, features: Tensor, matrix: Tensor) -> Tensor:
        representation = self.representations[name]
        try:
            result = representation.apply(features, matrix)
        except ValueError as error:
            raise UserError(
                f"layer '{name}': {type(representation).__name__} is declared at {view.key}, but "
                f"not defined there: {error}; declare it for fewer views"
            ) from error
        if result.shape != features.shape:
            raise UserError(
                f"layer '{name}': {type(representation).__name__}.apply returns the "
                f"shape {tuple(result.shape)}; return that of its features, {tuple(features.shape)}"
            )
        return result

    def _fields(self, name: str, output: Tensor) -> Tensor:
        return as_fields(name, self.layers[name], output, self.representations[name])

    def _warp(self, view: GridView, name: str, fields: Tensor) -> MapWarp:
        return self._warp_of(view, name, (fields.shape[-2], fields.shape[-1]))

    def _comparable(self, view: GridView, name: str, fields: Tensor) -> Tensor:
        """Return the positions (H, W) that can be compared, on the device of the fields."""
        size = (fields.shape[-2], fields.shape[-1])
        return self._comparable_of(view, name, size).to(fields.device)

    def _find_comparable(self, view: GridView, name: str, size: Size) -> Tensor:
        moving = self._warp_of(view, name, size)
        exact = self.representations[name].basis(view) == "by construction"
        if name not in self.interior or not exact or not view.factor.startswith("shift"):
            return moving.positions
        interior = self.interior[name].cpu()
        before = warp(interior[None, None].double(), moving.matrix)[0, 0] > 0
        return moving.positions & interior & before

    def _make_warp(self, view: GridView, name: str, size: Size) -> MapWarp:
        layer = self.layers[name]
        return MapWarp.of(
            Views.of_grid([view]),
            size,
            self.image_size,
            stride=layer.stride,
            offset=layer.offset,
            margin=self.margin / layer.stride,
        )


def as_fields(
    name: str, layer: LayerOfInterest, output: Tensor, representation: Representation
) -> Tensor:
    """Return the output of a layer as C fields of D numbers at H x W positions: (N, C, D, H, W).

    Args:
        name: Name of the layer.
        layer: The layer.
        output: Its output: a map (N, C D, H, W), a vector (N, C D), presences (N, H, W, C) or
            (N, C), poses (N, H, W, C, ...) or (N, C, ...) of D numbers. Without positions, H and W
            are 1.
        representation: Its representation, which knows D of maps and vectors, and whether there are
            positions.

    Raises:
        UserError: The representation does not fit the layer.
    """
    if representation.moves_positions and not has_positions(layer, output):
        raise UserError(
            f"layer '{name}': {type(representation).__name__} moves positions, but an output of "
            f"shape {tuple(output.shape)} of the kind '{layer.kind}' has none; declare another one"
        )
    if layer.kind in ("map", "vector"):
        if output.shape[1] % representation.numbers:
            raise UserError(
                f"layer '{name}': {type(representation).__name__} needs channels in groups of "
                f"{representation.numbers}; got {output.shape[1]} channels"
            )
        fields = output.unflatten(1, (-1, representation.numbers))
        return fields if fields.dim() == 5 else fields[..., None, None]
    capsules = output[..., None] if layer.kind == "presence" else output  # a fibre of one number
    if has_positions(layer, output):
        return capsules.flatten(4).movedim((1, 2), (-2, -1))
    return capsules.flatten(2)[..., None, None]


def has_positions(layer: LayerOfInterest, output: Tensor) -> bool:
    """Check whether the output of a layer is a map."""
    dims = {"map": 4, "presence": 4, "pose": 5, "vector": None}[layer.kind]
    return dims is not None and output.dim() >= dims
