"""Views: the parameters of one transformation per image, and their matrices.

Conventions, pinned by tests against ``torch.rot90``, integer slicing and kornia: rotation in
degrees, counter-clockwise on the screen; shift in pixels, x to the right and y down; scale 1 leaves
the image unchanged, above 1 enlarges; shear in degrees, positive moves the lower rows to the right;
tilt in degrees out of the picture, see `capsbench.viewpoint.tilt`. A view first scales, then
shears, then rotates, then tilts, all about the image's centre ((W-1)/2, (H-1)/2) or the centre of
the moving part, and shifts last. Brightness and contrast change the pixels afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Generator, Tensor

from capsbench.viewpoint.joint import SweptView
from capsbench.viewpoint.matrices import affine_matrices, tilted, with_exact_lattice
from capsbench.viewpoint.part import Window
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread
from capsbench.viewpoint.tilt import camera_distance

DRAWS = 9  # random numbers per view, independent of the ranges; tilts have their own


@dataclass(frozen=True)
class Views:
    """Views of N images, one per image.

    Attributes:
        rotation: (N,) degrees, counter-clockwise.
        shift: (N, 2) pixels, x right and y down.
        scale: (N, 2) factors of x and y, 1 for unchanged.
        shear: (N,) degrees, along x.
        brightness: (N,) added to pixels in [0, 1].
        contrast: (N,) factors of the distance of pixels from their channel's mean.
        centre: (N, 2) pixels from the image's centre to the centre of the transformation.
        window: (N, 2) width and height of the moving window; None for whole images.
        tilt: (N, 2) degrees about the x and the y axis; None if no image is tilted.
    """

    rotation: Tensor
    shift: Tensor
    scale: Tensor
    shear: Tensor
    brightness: Tensor
    contrast: Tensor
    centre: Tensor
    window: Tensor | None = None
    tilt: Tensor | None = None

    @classmethod
    def identity(cls, count: int) -> Self:
        """Return ``count`` identity views, in float64 on the CPU."""

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
    def of_grid(cls, views: Sequence[SweptView]) -> Self:
        """Return the views of one grid, in order; views of recorded factors are identities."""
        result = cls.identity(len(views))
        changes = [(row, each) for row, view in enumerate(views) for each in view.components]
        if any(each.factor.startswith("tilt") for _, each in changes):
            result = replace(result, tilt=torch.zeros_like(result.shift))
        for row, each in changes:
            if each.factor.startswith(("shift", "tilt")):
                name, _, axis = each.factor.partition("_")
                getattr(result, name)[row, "xy".index(axis)] = each.value
            elif not each.recorded:
                getattr(result, each.factor)[row] = each.value
        part = views[0].part
        if not isinstance(part, Window):
            return result
        result.centre[:] = result.centre.new_tensor([part.x.limits[0], part.y.limits[0]])
        return replace(result, window=_extent(part, result.centre))

    @classmethod
    def draw(
        cls, ranges: ViewRange, count: int, generator: Generator, tilts: Generator | None = None
    ) -> Self:
        """Draw ``count`` views uniformly; recorded factors are not drawn.

        Every factor of every view uses its own random number, in a fixed order. So the ``i``-th
        view depends neither on the number of views nor, factor by factor, on the other ranges.

        Args:
            ranges: Ranges of the factors.
            count: N, the number of views.
            generator: Random numbers of all factors but the tilts.
            tilts: Random numbers of the tilts; needed if the ranges tilt images.
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
            tilt=_draw_tilts(ranges, count, tilts) if ranges.tilts else None,
        )

    def matrices(self, height: int, width: int) -> Tensor:
        """Return the transformations of pixel coordinates, for images of a given size.

        Args:
            height: H in pixels.
            width: W in pixels.

        Returns:
            (N, 3, 3), of the views' dtype and device. ``matrix @ (x, y, 1)`` is the new position of
            the content of pixel (x, y), after a division by the third coordinate. Quarter turns and
            whole shifts are exact.
        """
        centre = self.centre + self.centre.new_tensor([(width - 1) / 2, (height - 1) / 2])
        shift = self.shift if self.tilt is None else torch.zeros_like(self.shift)
        matrices = affine_matrices(centre, self.rotation, self.scale, self.shear, shift)
        if self.tilt is not None:
            distance = camera_distance(height, width)
            matrices = tilted(matrices, centre, self.tilt, self.shift, distance)
        return with_exact_lattice(matrices)

    def with_shift(self, shift: tuple[float, float]) -> Self:
        """Return the same views with one shift (x, y) in pixels in place of their own."""
        return replace(self, shift=self.shift.new_tensor(shift).expand(len(self), 2))

    @property
    def has_photometric(self) -> bool:
        """True if any view changes brightness or contrast."""
        return bool((self.brightness != 0).any() or (self.contrast != 1).any())

    def with_centre(self, centre: Tensor) -> Views:
        """Return the same views about other centres (N, 2), in pixels from the images' centres.

        A single view is repeated for all centres.
        """
        views = self[torch.zeros(len(centre), dtype=torch.long)] if len(self) == 1 else self
        return replace(views, centre=centre)

    def to(self, images: Tensor) -> Views:
        """Return the views in the dtype and on the device of images."""
        # The dtype first: not every device has float64.
        return self._each(lambda factor: factor.to(images.dtype).to(images.device))

    def __len__(self) -> int:
        return len(self.rotation)

    def __getitem__(self, rows: slice | Tensor) -> Views:
        """Return the views of some of the images."""
        return self._each(lambda factor: factor[rows])

    def _each(self, change: Callable[[Tensor], Tensor]) -> Views:
        changed = {name: change(f) for name, f in vars(self).items() if f is not None}
        return Views(**changed)


def _spread_over(spread: Spread, unit: Tensor) -> Tensor:
    """Map numbers (N,) uniform in [0, 1) to values of a spread."""
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
    segment = torch.bucketize(along, ends, right=True)
    return high[segment] - (ends[segment] - along)


def _draw_tilts(ranges: ViewRange, count: int, generator: Generator | None) -> Tensor:
    """Draw tilts about both axes: (N, 2)."""
    if generator is None:
        raise ValueError("tilts are drawn from a generator of their own")
    unit = torch.rand(count, 2, generator=generator, dtype=torch.float64).unbind(-1)
    spreads = (ranges.tilt_x, ranges.tilt_y)
    return torch.stack([_spread_over(*pair) for pair in zip(spreads, unit, strict=True)], dim=-1)


def _extent(part: Window, centre: Tensor) -> Tensor:
    """Return width and height of the window for each centre (N, 2), in pixels: (N, 2)."""
    return centre.new_tensor([part.width, part.height]).expand(len(centre), 2)
