"""Pairs of recorded images of one object that differ in a single factor by a given change."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from capsbench.data.batches import Split
from capsbench.errors import UserError
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView


def find_partners(images: Split, change: GridView) -> Tensor:
    """Return for each image the image of the same object after a change of one recorded factor.

    Args:
        images: N images. The class and all recorded factors of a pair, the instance included, are
            equal except for the factor of the change.
        change: The recorded factor and its change, in the factor's unit; angles are compared up to
            full turns.

    Returns:
        (N,) the row of each image's partner, -1 if there is none.

    Raises:
        UserError: The set does not record which object an image shows.
    """
    if "instance" not in images.factors:
        raise UserError(
            f"a change of {change.factor} needs pairs of images of one object, but the set does "
            "not record which object an image shows: it has no factor 'instance'"
        )
    names = sorted(images.factors)
    recorded = torch.stack(
        [images.targets.double(), *(images.factors[name].double() for name in names)], dim=1
    )
    column, period = 1 + names.index(change.factor), FACTORS[change.factor].period
    changed = recorded.clone()
    changed[:, column] += change.value
    if period is not None:
        recorded[:, column] %= period
        changed[:, column] %= period
    # Equal rows get the same number.
    numbers = torch.cat([recorded, changed]).round(decimals=6).unique(dim=0, return_inverse=True)[1]
    recorded_numbers, changed_numbers = numbers.split(len(recorded))
    row_of = torch.full((int(numbers.max()) + 1,), -1)
    row_of[recorded_numbers.flip(0)] = torch.arange(len(recorded)).flip(0)  # the first row counts
    return row_of[changed_numbers]


def partners_by_change(images: Split, changes: Sequence[GridView]) -> Tensor:
    """Return the rows of the partners by change, (N, V); see `find_partners`."""
    return torch.stack([find_partners(images, change) for change in changes], dim=1)
