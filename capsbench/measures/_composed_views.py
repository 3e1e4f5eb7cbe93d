"""Compositions of the views of a grid that are views of the same grid."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.measures._group_law import compositions, equal_values
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView

# Coordinates in which composition of views is addition. Brightness and contrast have none, because
# pixel values are clipped. Neither have tilts: turns about one axis add up, but their pictures do
# not. With c, s = cos, sin and a camera at distance d, a tilt maps y to c y / (1 + s y / d). Two of
# them give a tilt only if one angle is 0: cos ab = cos a cos b and sin ab = sin a cos b + sin b
# contradict each other otherwise.
ADDITIVE: dict[str, Callable[[float], float]] = {
    "rotation": float,
    "shift_x": float,
    "shift_y": float,
    "scale": math.log,
    "azimuth": float,  # changes, as of elevation
    "elevation": float,
    "shear": lambda degrees: math.tan(math.radians(degrees)),
}


class ViewCompositions(NamedTuple):
    """Compositions of one factor's views.

    Attributes:
        view_indices: (V',) numbers of the factor's views among all V.
        triples: (T, 3) numbers of g, h and gh among the factor's own views.
        table: (V' + 1, V' + 1) if the views and the identity form a group, else None: row b and
            column g hold the view that g after b gives, 0 for the image as it is stored and v + 1
            for view v of all V. Row and column 0 are of the identity.
    """

    view_indices: Tensor
    triples: Tensor
    table: Tensor | None


def composed_views(views: Sequence[GridView], factor: str) -> ViewCompositions:
    """Return the compositions of one factor's views, none of which is the identity.

    Args:
        views: V views, of several factors.
        factor: The factor.

    >>> views = [GridView("rotation", value) for value in (-90, 90, 180)]
    >>> composed_views(views, "rotation").table.tolist()
    [[0, 1, 2, 3], [1, 3, 0, 2], [2, 0, 3, 1], [3, 2, 1, 0]]
    """
    numbers = [number for number, view in enumerate(views) if view.factor == factor]
    view_indices = torch.tensor(numbers, dtype=torch.long)
    if factor not in ADDITIVE or not numbers:
        return ViewCompositions(view_indices, torch.empty(0, 3, dtype=torch.long), None)
    values = [ADDITIVE[factor](views[number].value) for number in numbers]
    period = FACTORS[factor].period
    return ViewCompositions(
        view_indices, compositions(values, period), _table(view_indices, values, period)
    )


def _table(view_indices: Tensor, values: Sequence[float], period: float | None) -> Tensor | None:
    at = torch.tensor([0.0, *values], dtype=torch.float64)
    equal = equal_values((at[:, None] + at)[..., None], at, period)
    if not equal.any(dim=-1).all():
        return None
    return torch.cat([view_indices.new_zeros(1), view_indices + 1])[equal.long().argmax(dim=-1)]
