"""Feature maps warped as a view warps the image, for f(T_g x) = T_g f(x) (article, eq. 3)."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from capsbench.errors import UserError
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import Size, unwarp, warp

BORDERS = (
    "positions that see beyond the image's border count, although padding does not move with the "
    "image: give a margin of half a receptive field, in pixels, to leave them out"
)


class MapWarp(NamedTuple):
    """Warp of the positions of a map by a view, and the positions that can be compared.

    T_g moves the positions of a map as it moves the pixels at their centres. If the view moves
    content between positions, T_g f(x) is interpolated bilinearly, which blurs it: an equivariant
    map has an error of about half of that of a warp there and back. Shifts by whole strides blur
    nothing, nor do quarter turns if the map lies in the middle of the image.

    Attributes:
        matrix: (1, 3, 3) from `map_matrix`, on the CPU, where `warp` can test without waiting
            whether it is exact.
        positions: (H, W) bool, positions of the warped map whose content comes from inside the map.
        round_trip_positions: (H, W) bool, positions that are known after the warp and its inverse.
    """

    matrix: Tensor
    positions: Tensor
    round_trip_positions: Tensor

    @classmethod
    def of(
        cls,
        view: Views,
        size: Size,
        image_size: Size,
        *,
        stride: float = 1.0,
        offset: float = 0.0,
        margin: float = 0.0,
    ) -> Self:
        """Return the warp of maps by a view.

        Args:
            view: One view, which moves the whole image and has no photometric factor.
            size: (H, W) of the maps.
            image_size: (height, width) of the images in pixels; views turn about their centre.
            stride: Pixels from one position to the next, see `capsbench.contracts.LayerOfInterest`.
            offset: Pixel, in x and y, of the centre of the first position.
            margin: Positions at the border that are left out, before and after the warp: half the
                width of a receptive field in positions, if it reaches beyond the image's border.

        Raises:
            UserError: There are several views, or the view moves a part, or is photometric.
        """
        matrix = map_matrix(view, image_size, stride, offset)
        # Positions that left the map do not return: all positions that are interpolated must be
        # inside.
        weight = unwarp(inside(matrix, size)[None, None].double(), matrix)[0, 0]
        round_trip = inside(torch.linalg.inv(matrix), size, margin) & (weight > 1 - 1e-6)
        return cls(matrix, inside(matrix, size, margin), round_trip)

    def round_trip(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return maps (N, C, H, W) and the same after both warps, zero at unknown positions."""
        returned = unwarp(warp(maps, self.matrix), self.matrix)
        return _mask(maps, self.round_trip_positions), _mask(returned, self.round_trip_positions)


def map_matrix(view: Views, image_size: Size, stride: float, offset: float) -> Tensor:
    """Return a view as a transformation of the positions of a map.

    The centre of position q is pixel S q = offset + stride q, and the transformation is S⁻¹ M S of
    the view's matrix M.

    Args:
        view: One view.
        image_size: (height, width) of the images in pixels.
        stride: Pixels from one position to the next.
        offset: Pixel, in x and y, of the centre of the first position.

    Returns:
        (1, 3, 3) float64, for `capsbench.viewpoint.warp.warp`; whole numbers if the view moves
        positions onto positions.

    Raises:
        UserError: There are several views, or the view moves a part, or is photometric.
    """
    if len(view) != 1 or view.window is not None or view.has_photometric:
        raise UserError(
            "spatial equivariance needs one view that moves the whole image and changes no light; "
            f"got {len(view)} views, {'of a part' if view.window is not None else 'of it all'}"
            f"{', with brightness or contrast' if view.has_photometric else ''}: measure linear "
            "equivariance of other views"
        )
    matrix = view.matrices(*image_size)
    lower = matrix[:, 2, :2]  # 0, unless the view tilts
    depth = lower.sum(dim=1, keepdim=True) * offset + matrix[:, 2:, 2]  # of the first position
    # One division of exact numbers, so that whole positions stay whole for every stride.
    shift = matrix[:, :2, :2].sum(dim=2) * offset + matrix[:, :2, 2] - offset * depth
    linear = matrix[:, :2, :2] - offset * lower[:, None]
    upper = torch.cat([linear, shift[..., None] / stride], dim=2)
    return torch.cat([upper, torch.cat([stride * lower, depth], dim=1)[:, None]], dim=1)


def inside(matrix: Tensor, size: Size, margin: float = 0.0) -> Tensor:
    """Return the positions of a warped map that show positions inside the map.

    Args:
        matrix: (1, 3, 3) from `map_matrix`.
        size: (H, W) of the map.
        margin: Positions at the border that count as outside, of the map and of the warped map.

    Returns:
        (H, W) bool, on the device of ``matrix``.
    """
    height, width = size
    y, x = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    positions = torch.stack([x, y, torch.ones_like(x)], dim=-1).to(matrix)
    x, y, depth = (positions @ torch.linalg.inv(matrix[0]).T).unbind(dim=-1)
    sources = torch.stack([x, y], dim=-1) / depth[..., None]
    last = positions.new_tensor([width - 1, height - 1])
    # A tolerance of half a millionth of a position: the inverse of a quarter turn is not exact.
    low, high = margin - 5e-7, last - margin + 5e-7
    both = torch.stack([positions[..., :2], sources])
    return ((both >= low) & (both <= high)).all(dim=-1).all(dim=0)


def _mask(maps: Tensor, positions: Tensor) -> Tensor:
    """Return maps (N, C, H, W) with 0 outside of positions (H, W): one size for all views."""
    return maps.where(positions.to(maps.device), 0)
