"""Affine transforms of MNIST digits as affNIST is made of them, and a check of their ranges.

The ranges are known from memory only: of an official file, `check_ranges` says whether the
transforms that are stored in it fit them.
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
CHUNK = 1000  # images that are warped at once
COVERED = 0.9  # share of a range that many uniform numbers cover at the least


class Transforms(NamedTuple):
    """One transform for each of N digits."""

    rotation: Tensor
    """(N,) degrees, counter-clockwise."""
    shear: Tensor
    """(N,) factor."""
    scale: Tensor
    """(N, 2) horizontal and vertical."""
    place: Tensor
    """(N, 2) in [0, 1), across and down: from the first place where all of the digit is on the
    canvas to the last."""


def draw(count: int, *names: int | str) -> Transforms:
    """Transforms of a seeded table: the number of digits changes no digit's transform.

    Args:
        count: N.
        names: What the table is a function of.
    """
    unit = torch.rand(count, 6, generator=generator(*names), dtype=torch.float64)
    low, high = torch.tensor(list(RANGES.values()), dtype=torch.float64).unbind(1)
    rotation, shear, *scale = (low + (high - low) * unit[:, :4]).unbind(1)
    return Transforms(rotation, shear, torch.stack(scale, dim=1), unit[:, 4:])


def transform(images: Tensor, transforms: Transforms) -> Tensor:
    """Transform digits, interpolated once and bilinearly.

    In double precision, so that rounding gives every machine the same images.

    Args:
        images: (N, 1, H, W) uint8.
        transforms: N transforms.

    Returns:
        (N, 1, 40, 40) uint8.
    """
    result = torch.empty(len(images), 1, SIDE, SIDE, dtype=torch.uint8)
    for first in range(0, len(images), CHUNK):
        rows = slice(first, first + CHUNK)
        some = Transforms(*(values[rows] for values in transforms))
        matrices = views(images[rows], some).matrices(*images.shape[-2:])
        moved = warp(images[rows].double(), matrices, (SIDE, SIDE))
        result[rows] = moved.round().to(torch.uint8)
    return result


def views(images: Tensor, transforms: Transforms) -> Views:
    """The views for which transforms stand: where a place is depends on how large the digit is.

    A digit that is too large to be on the canvas as a whole stands in its middle.

    Args:
        images: (N, 1, H, W), 0 where there is no ink.
        transforms: N transforms.
    """
    still = replace(
        Views.identity(len(images)),
        rotation=transforms.rotation,
        shear=torch.rad2deg(torch.atan(transforms.shear)),
        scale=transforms.scale,
    )
    low, high = _reach(images, still)
    # Pixels outside of the canvas, from its centre; there must be no ink there.
    outside = (SIDE + 1) / 2
    first, last = -outside - low, outside - high
    middle = (first + last) / 2
    first, last = torch.minimum(first, middle), torch.maximum(last, middle)
    return replace(still, shift=first + (last - first) * transforms.place)


def _reach(images: Tensor, still: Views) -> tuple[Tensor, Tensor]:
    """(N, 2) and (N, 2), x and y between which the ink of images lies once it is transformed.

    In pixels from the centre; pixels there and beyond are black. Bilinear interpolation draws a
    pixel of ink out to its neighbours' centres, a square that is transformed with it.
    """
    height, width = images.shape[-2:]
    linear = still.matrices(height, width)[:, :2, :2]
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


def bounding_boxes(images: Tensor) -> Tensor:
    """The smallest rectangles around all that is not black.

    Args:
        images: (N, 1, H, W), none of them all black.

    Returns:
        (N, 4) int64: first and last column, first and last line.
    """
    ink = images[:, 0] > 0
    ends = []
    for line in (ink.any(dim=1), ink.any(dim=2)):
        length = line.shape[1]
        ends += [line.int().argmax(1), length - 1 - line.flip(1).int().argmax(1)]
    return torch.stack(ends, dim=1)


class RangeCheck(NamedTuple):
    """Whether stored transforms fit the ranges.

    Attributes:
        agrees: Whether there is a row of numbers for each of the ranges.
        told: What was found, in one sentence.
    """

    agrees: bool
    told: str


def check_ranges(stored: NDArray[Any]) -> RangeCheck:
    """Compare the transforms that are stored in a file of affNIST with `RANGES`.

    Which number means what is not known. Each number is taken for one that it can be: all of its
    values lie inside of the range, and cover most of it.

    Args:
        stored: (N, D) ``human_readable_transform``: D numbers for each of N images.
    """
    stored = stored.reshape(len(stored), -1)
    if not np.isfinite(stored).all():
        rows = int((~np.isfinite(stored)).any(axis=1).sum())
        return RangeCheck(False, f"{rows} of {len(stored)} stored transforms are no finite numbers")
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
    found = f"found {', '.join(fits)}" if fits else "found none"
    lacks = f"; none is {', '.join(misses)}" if misses else ""
    others = f"; the others are {rest}" if rest else ""
    return RangeCheck(not misses, f"{found}{lacks}{others}")
