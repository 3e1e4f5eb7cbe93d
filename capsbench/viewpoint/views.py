"""Views: the parameters of one transformation per image, and the matrices that they stand for.

The convention, pinned by tests against ``torch.rot90`` and integer slicing: rotation in degrees,
counter-clockwise as seen on the screen; shift in pixels, x to the right and y down; scale 1 for
unchanged, above 1 enlarges; shear in degrees, positive moves the lower rows to the right. A view
first scales, then shears, then rotates, all about the image's centre ((W-1)/2, (H-1)/2) or the
centre of the part that moves, and shifts last. Brightness and contrast change the pixels after.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Generator, Tensor

from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.part import Window
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread

DRAWS = 9  # numbers that each view takes from the generator, whatever the ranges


@dataclass(frozen=True)
class Views:
    """One view per image.

    Attributes:
        rotation: (N,) degrees, counter-clockwise.
        shift: (N, 2) pixels, x right and y down.
        scale: (N, 2) factors of x and y, 1 for unchanged.
        shear: (N,) degrees, along x.
        brightness: (N,) added to pixels in [0, 1].
        contrast: (N,) factors of the distance of pixels from their channel's mean.
        centre: (N, 2) pixels from the image's centre to the point about which it turns.
        window: (N, 2) width and height of the window that moves alone; None where none does.
    """

    rotation: Tensor
    shift: Tensor
    scale: Tensor
    shear: Tensor
    brightness: Tensor
    contrast: Tensor
    centre: Tensor
    window: Tensor | None = None

    @classmethod
    def identity(cls, count: int) -> Self:
        """``count`` views that change nothing, in float64 on the CPU."""

        def filled(value: float, *size: int) -> Tensor:
            return torch.full((count, *size), value, dtype=torch.float64)

        return cls(
            rotation=filled(0),
            shift=filled(0, 2),
            scale=filled(1, 2),
            shear=filled(0),
            brightness=filled(0),
            contrast=filled(1),
            centre=filled(0, 2),
        )

    @classmethod
    def of_grid(cls, views: Sequence[GridView]) -> Self:
        """The views of one grid, one after the other; recorded factors change no image."""
        result = cls.identity(len(views))
        for row, view in enumerate(views):
            if view.factor.startswith("shift"):
                result.shift[row, "xy".index(view.factor[-1])] = view.value
            elif not view.recorded:
                getattr(result, view.factor)[row] = view.value
        part = views[0].part
        if not isinstance(part, Window):
            return result
        result.centre[:] = result.centre.new_tensor([part.x.limits[0], part.y.limits[0]])
        return replace(result, window=_extent(part, result.centre))

    @classmethod
    def draw(cls, ranges: ViewRange, count: int, generator: Generator) -> Self:
        """Draw ``count`` views uniformly; recorded factors are not drawn but chosen from.

        Every factor of every view takes its own draw, in order: neither the range of another factor
        nor the number of views changes the ``i``-th view.
        """
        unit = torch.rand(count, DRAWS, generator=generator, dtype=torch.float64).unbind(-1)
        scale = _spread_over(ranges.scale, unit[3])
        centre, window = unit[0].new_zeros(count, 2), None
        if isinstance(part := ranges.part, Window):
            places = [_spread_over(part.x, unit[7]), _spread_over(part.y, unit[8])]
            centre = torch.stack(places, dim=-1)
            window = _extent(part, centre)
        return cls(
            rotation=_spread_over(ranges.rotation, unit[0]),
            shift=torch.stack([_spread_over(ranges.shift, u) for u in unit[1:3]], dim=-1),
            scale=torch.stack([scale, scale], dim=-1),
            shear=_spread_over(ranges.shear, unit[4]),
            brightness=_spread_over(ranges.brightness, unit[5]),
            contrast=_spread_over(ranges.contrast, unit[6]),
            centre=centre,
            window=window,
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
        # Warping small images costs about as much as these lines: each operation counts.
        cos, sin = _cos_sin(self.rotation)
        slant = torch.tan(torch.deg2rad(self.shear))
        scale_x, scale_y = self.scale.unbind(-1)
        # y points down, so counter-clockwise on the screen is R = [[cos, sin], [-sin, cos]]; this
        # is R @ [[1, slant], [0, 1]] @ [[scale_x, 0], [0, scale_y]].
        a, b = cos * scale_x, torch.addcmul(sin, cos, slant) * scale_y
        c, d = -sin * scale_x, torch.addcmul(cos, sin, slant, value=-1) * scale_y
        x, y = self.centre[:, 0] + (width - 1) / 2, self.centre[:, 1] + (height - 1) / 2
        to_x, to_y = x + self.shift[:, 0], y + self.shift[:, 1]
        to_x = torch.addcmul(torch.addcmul(to_x, a, x, value=-1), b, y, value=-1)
        to_y = torch.addcmul(torch.addcmul(to_y, c, x, value=-1), d, y, value=-1)
        zero, one = torch.zeros_like(a), torch.ones_like(a)
        return torch.stack([a, b, to_x, c, d, to_y, zero, zero, one], dim=-1).unflatten(-1, (3, 3))

    def moved(self, shift: tuple[float, float]) -> Self:
        """The same views, shifted by the same pixels in x and y instead of what they were."""
        return replace(self, shift=self.shift.new_tensor(shift).expand(len(self), 2))

    @property
    def has_photometric(self) -> bool:
        """Whether any view changes brightness or contrast; asked where the views are made."""
        return bool((self.brightness != 0).any() or (self.contrast != 1).any())

    def about(self, centre: Tensor) -> Views:
        """The same views about other points (N, 2), in pixels from the images' centres.

        One view serves for all points.
        """
        alike = self[torch.zeros(len(centre), dtype=torch.long)] if len(self) == 1 else self
        return replace(alike, centre=centre)

    def to(self, images: Tensor) -> Views:
        """The same views in the dtype and on the device of images."""
        # The dtype first: not every device has float64.
        return self._each(lambda factor: factor.to(images.dtype).to(images.device))

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, rows: slice | Tensor) -> Views:
        """The views of some of the images."""
        return self._each(lambda factor: factor[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Views:
        changed = {name: change(f) for name, f in vars(self).items() if f is not None}
        return Views(**changed)


def _spread_over(spread: Spread, unit: Tensor) -> Tensor:
    """Values of a spread for numbers (N,) uniform in [0, 1)."""
    if spread.constant is not None:
        return torch.full_like(unit, spread.constant)
    if spread.values:
        return unit.new_tensor(spread.values)[(unit * len(spread.values)).long()]
    if len(spread.intervals) == 1:
        start, stop = spread.intervals[0]
        return start + (stop - start) * unit
    low, high = unit.new_tensor(spread.intervals).unbind(-1)
    ends = (high - low).cumsum(0)
    along = unit * ends[-1]
    piece = torch.bucketize(along, ends, right=True)
    return high[piece] - (ends[piece] - along)


def _extent(part: Window, centre: Tensor) -> Tensor:
    """(N, 2) pixels, width and height of windows about centres (N, 2)."""
    return centre.new_tensor([part.width, part.height]).expand(len(centre), 2)


def _cos_sin(degrees: Tensor) -> tuple[Tensor, Tensor]:
    """Cosine and sine of an angle in degrees, exactly 0 or ±1 at multiples of 90."""
    angle = torch.deg2rad(degrees)
    turn = torch.stack([torch.cos(angle), torch.sin(angle)])
    turn = torch.where(torch.remainder(degrees, 90) == 0, turn.round(), turn)
    cos, sin = turn.unbind()
    return cos, sin
