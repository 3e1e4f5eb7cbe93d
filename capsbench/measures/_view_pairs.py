"""Pairs of images of one object, which differ in how it stood by so much and in nothing else."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from capsbench.data.batches import Split
from capsbench.errors import UserError
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView


def partners(images: Split, change: GridView) -> Tensor:
    """The images that show the same object, turned further.

    Args:
        images: N images; what was recorded of them, the instance too, has to be the same but for
            the factor of the change.
        change: A recorded factor and by how much it changes, in its own unit; an angle comes back
            after a whole turn.

    Returns:
        (N,) the row of each image's partner, -1 where there is none.

    Raises:
        UserError: The set does not tell its objects apart.
    """
    if "instance" not in images.factors:
        raise UserError(
            f"a change of {change.factor} is seen on images of one object, but the set does not "
            "tell its objects apart: it records no instance"
        )
    names = sorted(images.factors)
    known = torch.stack(
        [images.targets.double(), *(images.factors[name].double() for name in names)], dim=1
    )
    column, period = 1 + names.index(change.factor), FACTORS[change.factor].period
    wanted = known.clone()
    wanted[:, column] += change.value
    if period is not None:
        known[:, column] %= period
        wanted[:, column] %= period
    # Rows that are equal get the same number.
    numbers = torch.cat([known, wanted]).round(decimals=6).unique(dim=0, return_inverse=True)[1]
    have, want = numbers.split(len(known))
    row_of = torch.full((int(numbers.max()) + 1,), -1)
    row_of[have.flip(0)] = torch.arange(len(known)).flip(0)
    return row_of[want]


def all_partners(images: Split, changes: Sequence[GridView]) -> Tensor:
    """(N, V) rows of the partners by change; see `partners`."""
    return torch.stack([partners(images, change) for change in changes], dim=1)
