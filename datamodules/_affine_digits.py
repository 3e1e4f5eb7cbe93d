"""Affine transforms of MNIST digits with affNIST's ranges, and a check of these ranges.

The ranges are known from memory only. `check_ranges` compares the transforms that are stored in an
official file with them.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.data.randomness import generator
from capsbench.viewpoint.spread import Interval
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

SIDE = 40  # of affNIST's canvas, pixels
RANGES: dict[str, Interval] = {
    "rotation": (-20.0, 20.0),  # degrees
    "shear": (-0.2, 0.2),  # pixels to the side for each pixel down
    "horizontal scale": (0.8, 1.2),
    "vertical scale": (0.8, 1.2),
}
CHUNK = 1000  # images per warp
COVERED = 0.9  # smallest share of a range that many uniform numbers cover


class Transforms(NamedTuple):
    """One transform for each of N digits."""

    rotation: Tensor
    """(N,) degrees, counter-clockwise."""
    shear: Tensor
    """(N,) factor."""
    scale: Tensor
    """(N, 2) horizontal and vertical."""
    position: Tensor
    """(N, 2) in [0, 1), across and down: from the first to the last position at which the whole
    digit
    is on the canvas."""


def draw(count: int, *names: int | str) -> Transforms:
    """Draw transforms from a seeded table; a digit's transform does not depend on their number.

    Args:
        count: N, the number of images.
        names: Names that determine the table.
    """
    unit = torch.rand(count, 6, generator=generator(*names), dtype=torch.float64)
    low, high = torch.tensor(list(RANGES.values()), dtype=torch.float64).unbind(1)
    rotation, shear, *scale = (low + (high - low) * unit[:, :4]).unbind(1)
    return Transforms(rotation, shear, torch.stack(scale, dim=1), unit[:, 4:])


def transform(images: Tensor, transforms: Transforms) -> Tensor:
    """Transform digits, with one bilinear interpolation.

    Double precision gives every machine the same rounded images.

    Args:
        images: (N, 1, H, W) uint8.
        transforms: N transforms.

    Returns:
        (N, 1, 40, 40) uint8.
    """
    result = torch.empty(len(images), 1, SIDE, SIDE, dtype=torch.uint8)
    for first in range(0, len(images), CHUNK):
        rows = slice(first, first + CHUNK)
        part = Transforms(*(values[rows] for values in transforms))
        matrices = views(images[rows], part).matrices(*images.shape[-2:])
        moved = warp(images[rows].double(), matrices, (SIDE, SIDE))
        result[rows] = moved.round().to(torch.uint8)
    return result


def views(images: Tensor, transforms: Transforms) -> Views:
    """Return the views that transforms describe; the position depends on the size of the digit.

    A digit that is too large for the canvas is in its middle.

    Args:
        images: (N, 1, H, W), 0 where there is no ink.
        transforms: N transforms.
    """
    unshifted = replace(
        Views.identity(len(images)),
        rotation=transforms.rotation,
        shear=torch.rad2deg(torch.atan(transforms.shear)),
        scale=transforms.scale,
    )
    low, high = _ink_limits(images, unshifted)
    # Pixels outside of the canvas, from its centre; there must be no ink there.
    outside = (SIDE + 1) / 2
    first, last = -outside - low, outside - high
    middle = (first + last) / 2
    first, last = torch.minimum(first, middle), torch.maximum(last, middle)
    return replace(unshifted, shift=first + (last - first) * transforms.position)


def _ink_limits(images: Tensor, unshifted: Views) -> tuple[Tensor, Tensor]:
    """Return (N, 2) and (N, 2), the limits in x and y of the transformed ink of images.

    They are in pixels from the centre; pixels at the limits and beyond are black. Bilinear
    interpolation extends a pixel of ink to its neighbours' centres: a square, which is transformed
    with it.
    """
    height, width = images.shape[-2:]
    linear = unshifted.matrices(height, width)[:, :2, :2]
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    places = torch.stack([x.repeat(height), y.repeat_interleave(width)])  # (2, H W)
    moved = linear @ places  # (N, 2, H W)
    blank = (images == 0).flatten(2)
    infinite = torch.tensor(torch.inf, dtype=torch.float64)
    spread = linear.abs().sum(dim=2)
    low = torch.where(blank, infinite, moved).amin(dim=2) - spread
    high = torch.where(blank, -infinite, moved).amax(dim=2) + spread
    return low, high


class RangeCheck(NamedTuple):
    """Result of the comparison of stored transforms with the ranges.

    Attributes:
        agrees: True if there is a column of numbers for each of the ranges.
        message: The result in one sentence.
    """

    agrees: bool
    message: str


def check_ranges(stored: NDArray[Any]) -> RangeCheck:
    """Compare the transforms that are stored in a file of affNIST with `RANGES`.

    The meaning of the columns is not known. A column matches a range if all of its values lie in
    the range and cover most of it.

    Args:
        stored: (N, D) ``human_readable_transform``: D numbers for each of N images.
    """
    stored = stored.reshape(len(stored), -1)
    if not np.isfinite(stored).all():
        rows = int((~np.isfinite(stored)).any(axis=1).sum())
        return RangeCheck(False, f"{rows} of {len(stored)} stored transforms are not finite")
    ends = list(zip(stored.min(axis=0).tolist(), stored.max(axis=0).tolist(), strict=True))
    free = dict(enumerate(ends))
    fits, misses = [], []
    for name, (low, high) in RANGES.items():
        slack = 1e-6 * (high - low)
        for column, (least, most) in free.items():
            inside = low - slack <= least and most <= high + slack
            if inside and most - least >= COVERED * (high - low):
                fits.append(f"{name} {least:.4g} to {most:.4g} (number {column + 1})")
                del free[column]
                break
        else:
            misses.append(f"{name} {low:g} to {high:g}")
    rest = ", ".join(
        f"number {c + 1}: {least:.4g} to {most:.4g}" for c, (least, most) in free.items()
    )
    matches = f"found {', '.join(fits)}" if fits else "found none"
    missing = f"; none is {', '.join(misses)}" if misses else ""
    others = f"; the others are {rest}" if rest else ""
    return RangeCheck(not misses, f"{matches}{missing}{others}")
