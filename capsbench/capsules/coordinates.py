"""Coordinate addition: adding the position on the map to the votes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

# A function of the height and width of a map of votes, and a tensor ``like`` that gives dtype and
# device. It returns offsets (H, W, 4, 4), which are added to the votes.
Coordinates = Callable[..., Tensor]


def coordinates(height: int, width: int, *, like: Tensor) -> Tensor:
    """Return the offsets of coordinate addition (Hinton 2018, section 4).

    The first two elements of the last column hold the row and the column of a position, as
    fractions of the size of the map.

    Args:
        height: H of the map.
        width: W of the map.
        like: A tensor that gives dtype and device.

    Returns:
        (H, W, 4, 4), zero except for those two elements, which lie between 0 and 1.
    """
    offsets = like.new_zeros(height, width, 4, 4)
    offsets[:, :, 0, 3] = ((torch.arange(height, device=like.device) + 0.5) / height)[:, None]
    offsets[:, :, 1, 3] = (torch.arange(width, device=like.device) + 0.5) / width
    return offsets


@dataclass(frozen=True, kw_only=True)
class PixelCoordinates:
    """Coordinate addition of the authors' code: the pixel at the centre of each receptive field.

    The first two elements of the first row of a vote hold the pixel's column and row, in hundreds
    of pixels, counted from pixel (H // 2, W // 2) of the image. (The code averages a grid of
    pixels, -16..15 for 32 of them, over each window of the layers below; each of its three averages
    swaps rows and columns.)

    Attributes:
        image_size: (H, W) of the image.
        stride: Pixels between adjacent positions of the map.
        offset: Pixel, in rows and columns, of the centre of the first position.
    """

    image_size: tuple[int, int]
    stride: float
    offset: float

    def __call__(self, height: int, width: int, *, like: Tensor) -> Tensor:
        """Return offsets (H, W, 4, 4) for the votes from a map; see `coordinates`."""
        offsets = like.new_zeros(height, width, 4, 4)
        offsets[:, :, 0, 0] = self._pixels(width, self.image_size[1], like) / 100
        offsets[:, :, 0, 1] = self._pixels(height, self.image_size[0], like)[:, None] / 100
        return offsets

    def _pixels(self, count: int, size: int, like: Tensor) -> Tensor:
        """Return the centre pixel of each position along one side, relative to the image centre."""
        return torch.arange(count, device=like.device) * self.stride + self.offset - size // 2
