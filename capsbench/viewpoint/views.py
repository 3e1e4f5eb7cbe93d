"""Views: the parameters of one transformation per image, and the matrices that they stand for.

The convention, pinned by tests against ``torch.rot90`` and integer slicing: rotation in degrees,
counter-clockwise as seen on the screen; shift in pixels, x to the right and y down; scale 1 for
unchanged, above 1 enlarges; shear in degrees, positive moves the lower rows to the right. A view
first scales, then shears, then rotates, all about the image's centre ((W-1)/2, (H-1)/2), and shifts
last.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import torch
from torch import Generator, Tensor

from capsbench.viewpoint.ranges import GridView, ViewRange


@dataclass(frozen=True)
class Views:
    """One view per image.

    Attributes:
        rotation: (N,) degrees, counter-clockwise.
        shift: (N, 2) pixels, x right and y down.
        scale: (N, 2) factors of x and y, 1 for unchanged.
        shear: (N,) degrees, along x.
    """

    rotation: Tensor
    shift: Tensor
    scale: Tensor
    shear: Tensor

    @classmethod
    def identity(cls, count: int) -> Self:
        """``count`` views that change nothing, in float64 on the CPU."""
        zeros = torch.zeros(count, dtype=torch.float64)
        return cls(zeros, zeros.new_zeros(count, 2), zeros.new_ones(count, 2), zeros.clone())

    @classmethod
    def of_grid(cls, views: Sequence[GridView]) -> Self:
        """The views of a grid, one after the other."""
        result = cls.identity(len(views))
        for row, (factor, value) in enumerate(views):
            if factor.startswith("shift"):
                result.shift[row, "xy".index(factor[-1])] = value
            else:
                getattr(result, factor)[row] = value
        return result

    @classmethod
    def draw(cls, ranges: ViewRange, count: int, generator: Generator) -> Self:
        """Draw ``count`` views uniformly.

        Every factor of every view takes its own draw, in order: neither the range of another factor
        nor the number of views changes the ``i``-th view.
        """
        unit = torch.rand(count, 5, generator=generator, dtype=torch.float64)
        columns = [ranges.rotation, ranges.shift, ranges.shift, ranges.scale, ranges.shear]
        low, high = torch.tensor(columns, dtype=torch.float64).T
        rotation, shift_x, shift_y, scale, shear = (low + (high - low) * unit).unbind(-1)
        return cls(
            rotation, torch.stack([shift_x, shift_y], -1), torch.stack([scale, scale], -1), shear
        )

    def matrices(self, height: int, width: int) -> Tensor:
        """The transformations of pixel coordinates, for images of a given size.

        Args:
            height: H in pixels.
            width: W in pixels.

        Returns:
            (N, 3, 3), float64 where the views are: ``matrix @ (x, y, 1)`` is where the content of
            pixel (x, y) goes. Multiples of 90 degrees are exact.
        """
        cos, sin = _cos_sin(self.rotation)
        slant = torch.tan(torch.deg2rad(self.shear))
        scale_x, scale_y = self.scale.unbind(-1)
        # y points down, so counter-clockwise on the screen is [[cos, sin], [-sin, cos]].
        rotation = _matrix(cos, sin, -sin, cos)
        one, zero = torch.ones_like(slant), torch.zeros_like(slant)
        linear = rotation @ _matrix(one, slant, zero, one) @ _matrix(scale_x, zero, zero, scale_y)
        centre = linear.new_tensor([(width - 1) / 2, (height - 1) / 2])
        offset = centre + self.shift - linear @ centre
        last_row = linear.new_tensor([0.0, 0.0, 1.0]).expand(len(linear), 1, 3)
        return torch.cat([torch.cat([linear, offset[..., None]], dim=-1), last_row], dim=-2)

    def to(self, images: Tensor) -> Views:
        """The same views in the dtype and on the device of images."""
        # The dtype first: not every device has float64.
        return Views(*(f.to(images.dtype).to(images.device) for f in self._factors()))

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, rows: slice | Tensor) -> Views:
        """The views of some of the images."""
        return Views(*(factor[rows] for factor in self._factors()))

    def _factors(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        return self.rotation, self.shift, self.scale, self.shear


def _cos_sin(degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of an angle in degrees, exactly 0 or ±1 at multiples of 90."""
    angle = torch.deg2rad(degrees)
    quarter = torch.remainder(degrees, 90) == 0
    cos, sin = torch.cos(angle), torch.sin(angle)
    return torch.where(quarter, cos.round(), cos), torch.where(quarter, sin.round(), sin)


def _matrix(a: Tensor, b: Tensor, c: Tensor, d: Tensor) -> Tensor:
    """Matrices [[a, b], [c, d]] of shape (N, 2, 2)."""
    return torch.stack([a, b, c, d], dim=-1).unflatten(-1, (2, 2))
