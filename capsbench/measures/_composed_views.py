"""Which views of a grid composed are another one of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.measures._group_law import compositions
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView

# Numbers that add up where views are composed; brightness and contrast are cut off, and do not.
ADDED: dict[str, Callable[[float], float]] = {
    "rotation": float,
    "shift_x": float,
    "shift_y": float,
    "scale": math.log,
    "azimuth": float,  # by which an object was turned further, as are degrees of elevation
    "elevation": float,
    "shear": lambda degrees: math.tan(math.radians(degrees)),
}


class Composed(NamedTuple):
    """The compositions of one factor's views.

    Attributes:
        own: (V',) the numbers of the factor's views among all V.
        triples: (T, 3) numbers of g, h and gh among the factor's own views.
        table: (V' + 1, V' + 1) where the views and the identity are a whole group, or None: in row
            b and column g what is seen where g follows b, 0 for the image as it is stored, and
            v + 1 for view v of all V. Row and column 0 are of the identity.
    """

    own: Tensor
    triples: Tensor
    table: Tensor | None


def composed_views(views: Sequence[GridView], factor: str) -> Composed:
    """Compositions of one factor's views, none of which is the identity.

    Args:
        views: V views, of several factors.
        factor: The factor.

    >>> views = [GridView("rotation", value) for value in (-90, 90, 180)]
    >>> composed_views(views, "rotation").table.tolist()
    [[0, 1, 2, 3], [1, 3, 0, 2], [2, 0, 3, 1], [3, 2, 1, 0]]
    """
    numbers = [number for number, view in enumerate(views) if view.factor == factor]
    own = torch.tensor(numbers, dtype=torch.long)
    if factor not in ADDED or not numbers:
        return Composed(own, torch.empty(0, 3, dtype=torch.long), None)
    values = [ADDED[factor](views[number].value) for number in numbers]
    period = FACTORS[factor].period
    return Composed(own, compositions(values, period), _table(own, values, period))


def _table(own: Tensor, values: Sequence[float], period: float | None) -> Tensor | None:
    at = torch.tensor([0.0, *values], dtype=torch.float64)
    off = (at[:, None] + at)[..., None] - at
    if period is not None:
        off = off - period * (off / period).round()
    same = off.abs() < 1e-9
    if not same.any(dim=-1).all():
        return None
    return torch.cat([own.new_zeros(1), own + 1])[same.long().argmax(dim=-1)]
