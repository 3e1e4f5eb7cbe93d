"""Coordinate addition: votes are told from which place of the map they come."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# From height and width of a map of votes, and a tensor ``like`` whose dtype and device are wanted,
# to (H, W, 4, 4), which is added to the votes.
Coordinates = Callable[..., Tensor]


def coordinates(height: int, width: int, *, like: Tensor) -> Tensor:
    """Coordinate addition: what votes from each place of a map are told (Hinton 2018, section 4).

    The first two elements of the right-hand column hold the place's row and column, as shares of
    the map's size.

    Args:
        height: H of the map.
        width: W of the map.
        like: A tensor whose dtype and device are wanted.

    Returns:
        (H, W, 4, 4), zero but for those elements, which lie between 0 and 1.
    """
    offsets = like.new_zeros(height, width, 4, 4)
    offsets[:, :, 0, 3] = ((torch.arange(height, device=like.device) + 0.5) / height)[:, None]
    offsets[:, :, 1, 3] = (torch.arange(width, device=like.device) + 0.5) / width
    return offsets


@dataclass(frozen=True, kw_only=True)
class PixelCoordinates:
    """Coordinate addition of the authors' code: the pixel at the centre of what each place sees.

    The first two elements of the first row of a vote hold the pixel's column and row, in hundreds
    of pixels, counted from pixel (H // 2, W // 2) of the image. (The code averages a grid of
    pixels, -16..15 for 32 of them, through each window below; each of its three averages swaps
    rows and columns.)

    Attributes:
        image_size: (H, W) of the image.
        stride: Pixels from one place of the map to the next.
        offset: Pixel, in rows and columns, of the centre of the first place.
    """

    image_size: tuple[int, int]
    stride: float
    offset: float

    def __call__(self, height: int, width: int, *, like: Tensor) -> Tensor:
        """Offsets (H, W, 4, 4) for the votes from a map; see `coordinates`."""
        offsets = like.new_zeros(height, width, 4, 4)
        offsets[:, :, 0, 0] = self._pixels(width, self.image_size[1], like) / 100
        offsets[:, :, 0, 1] = self._pixels(height, self.image_size[0], like)[:, None] / 100
        return offsets

    def _pixels(self, places: int, size: int, like: Tensor) -> Tensor:
        """Of each place along one side, the pixel at its centre, counted from the image's."""
        return torch.arange(places, device=like.device) * self.stride + self.offset - size // 2
