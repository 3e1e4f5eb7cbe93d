"""How poses on a map change in themselves when the image moves: one affine map for all places.

A pose stands at a place and also turns with the image. After its map has been moved by
`capsbench.measures.moved_maps`, what is left to do at every place is the same: f(T_g x)(T_g p) =
A_g f(x)(p) for f(Tx) = T f(x) (article, eq. 3). The fibre over a place is the space of its poses.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.measures.affine_maps import (
    FOLDS,
    Division,
    Moments,
    choose_penalty,
    ridge,
    together,
)
from capsbench.measures.invariance import ROUNDING


class FibreFit(NamedTuple):
    """What the maps of all types of capsules explain on held-out images, 0-d each.

    Attributes:
        explained: 1 - E|f(T_g x) - A_g T_g f(x)|² / E|f(T_g x) - T_g f(x)|², poses of all places
            and types together: 1 where A_g is all that is left to do, 0 where it is no better than
            poses that stay as they are.
        shuffled: The same of maps fitted to poses of other images at the same places.
        beyond_controls: 1 - E|f(T_g x) - A_g T_g f(x)|² over the smaller of the two controls'
            errors, chosen type by type.
        distance: Mean over types of |A_g - I| (Frobenius) / sqrt(d).

    The first three are NaN ('undefined') where nothing changes.
    """

    explained: Tensor
    shuffled: Tensor
    beyond_controls: Tensor
    distance: Tensor


class FibreMaps:
    """Second moments of poses on maps and of the same poses from a view, batch by batch.

    Memory is that of products of the D numbers of a pose, for each type, whatever the number of
    images and places.

    Args:
        types: C types of capsules, each with a map of its own.
    """

    def __init__(self, types: int) -> None:
        self.types = types
        self.parts: dict[int, Moments] = {}
        self.shuffled: dict[int, Moments] = {}

    def update(self, moved: Tensor, found: Tensor, division: Division) -> None:
        """Take in poses of some images.

        Args:
            moved: (N, C, D, P) of T_g f(x), at P places.
            found: (N, C, D, P) of f(T_g x), at the same places.
            division: Which of the N images serve for what.
        """
        if not moved.shape[-1]:
            return
        division = division.to(moved.device)
        other = found.roll(1, dims=0)
        part_of = division.fold.where(~division.held_out, HELD_OUT)
        for part in part_of.unique().tolist():
            rows = part_of == part
            for sums, target in ((self.parts, found), (self.shuffled, other)):
                add = self._moments(moved[rows], target[rows])
                sums[part] = sums[part].plus(add) if part in sums else add

    def compute(self) -> FibreFit:
        """Fit the maps, by ridge with a penalty from nested validation, and try them.

        Without places, or with too few images to hold some out and to validate on others, all is
        NaN.
        """
        if HELD_OUT not in self.parts or len(self.parts) < FEWEST_PARTS:
            return FibreFit(*torch.full((4,), torch.nan, dtype=torch.float64))
        tested = self.parts[HELD_OUT]
        maps = _fit(self.parts)
        unit = torch.eye(*maps.shape[-2:]).to(maps)
        residual = tested.error(maps)
        shuffled = tested.error(_fit(self.shuffled))
        change = tested.error(unit)
        control = torch.minimum(shuffled, change)
        nothing = change.sum() <= ROUNDING * tested.square.sum()

        def share(left: Tensor, of: Tensor) -> Tensor:
            return (1 - left.sum() / of.sum()).masked_fill(nothing, torch.nan)

        off = (maps - unit)[..., :-1].square().sum(dim=(-2, -1)).div(maps.shape[-2]).sqrt()
        return FibreFit(
            explained=share(residual, change),
            shuffled=share(shuffled, change),
            beyond_controls=share(residual, control),
            distance=off.mean(),
        )

    def _moments(self, moved: Tensor, found: Tensor) -> Moments:
        x, y = (
            each.double().permute(1, 0, 3, 2).flatten(1, 2).flatten(0, 1) for each in (moved, found)
        )
        rows = torch.arange(len(x), device=x.device).view(self.types, -1)
        return Moments.of(x, y[:, None], list(rows))


HELD_OUT = FOLDS  # the number of the part that nothing is fitted to
FEWEST_PARTS = 3  # that, one to fit to, and one to validate on


def _fit(parts: dict[int, Moments]) -> Tensor:
    folds = [moments for part, moments in sorted(parts.items()) if part != HELD_OUT]
    return ridge(together(folds), choose_penalty(folds))
