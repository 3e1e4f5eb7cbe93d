"""How poses on a map change in themselves when the image moves: one affine map for all places.

A pose stands at a place and also turns with the image. After its map has been moved by
`capsbench.measures._warped_maps`, what is left to do at every place is the same: f(T_g x)(T_g p) =
A_g f(x)(p) for f(Tx) = T f(x) (article, eq. 3). The fibre over a place is the space of its poses.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench.measures._affine_maps import (
    FOLDS,
    Division,
    Moments,
    choose_penalty,
    ridge,
    together,
)
from capsbench.measures._invariance import ROUNDING

HELD_OUT = FOLDS  # the number of the part that nothing is fitted to
PARTS = FOLDS + 1
FEWEST_FOLDS = 2  # one to fit to, and one to validate on


class FibreSums(NamedTuple):
    """Sums over held-out images, places and types of capsules, 0-d each.

    Attributes:
        residual: Of |f(T_g x) - A_g T_g f(x)|².
        shuffled: The same of maps fitted to poses of other images at the same places.
        control: Of the smaller of the two controls' errors, type by type.
        change: Of |f(T_g x) - T_g f(x)|².
        size: Of |f(T_g x)|²: what rounding is measured by.
    """

    residual: Tensor
    shuffled: Tensor
    control: Tensor
    change: Tensor
    size: Tensor


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
        sums: What the shares are made of.

    The first three are NaN ('undefined') where nothing changes.
    """

    explained: Tensor
    shuffled: Tensor
    beyond_controls: Tensor
    distance: Tensor
    sums: FibreSums

    @classmethod
    def of(cls, sums: FibreSums, distance: Tensor) -> FibreFit:
        """The shares that sums amount to."""
        nothing = ~(sums.change > ROUNDING * sums.size)  # also where there are none

        def share(left: Tensor, of: Tensor) -> Tensor:
            return (1 - left / of).masked_fill(nothing, torch.nan)

        return cls(
            explained=share(sums.residual, sums.change),
            shuffled=share(sums.shuffled, sums.change),
            beyond_controls=share(sums.residual, sums.control),
            distance=distance,
            sums=sums,
        )

    @property
    def shares(self) -> dict[str, Tensor]:
        """The shares and the distance by name."""
        return {name: value for name, value in self._asdict().items() if name != "sums"}


def over_fits(fits: Sequence[FibreFit]) -> FibreFit:
    """Of several views together: the sums are added, so that a view counts as much as it changes.

    Args:
        fits: One or more, of the same images.
    """
    sums = FibreSums(
        *(torch.stack(each).nansum() for each in zip(*(f.sums for f in fits), strict=True))
    )
    return FibreFit.of(sums, torch.stack([each.distance for each in fits]).nanmean())


def fibre_equivariance(moved: Tensor, found: Tensor, division: Division) -> FibreFit:
    """How much of what a view leaves to do at each place one affine map of poses explains.

    For each type of capsules A_g is fitted by ridge regression, its penalty from nested validation,
    from T_g f(x) to f(T_g x) at all places together, and tried on images that were held out. The
    control is what such a map finds in poses of other images at the same places: all pairs of
    images are taken together, in expectation, and none is drawn.

    Args:
        moved: (N, C, D, P) of T_g f(x): C types with poses of D numbers at P places.
        found: (N, C, D, P) of f(T_g x), at the same places.
        division: Which images serve for what.

    Returns:
        All NaN without places, or with too few images to hold some out and validate on others.
    """
    metric = FibreEquivariance(moved.shape[1:], sync_on_compute=False).to(moved.device)
    metric.update(moved, found, division)
    return metric.compute()


class FibreEquivariance(Metric):
    """`fibre_equivariance` of one view, over all batches and processes.

    It keeps sums of products of the D numbers of a pose, and of the poses at each place: memory
    does not depend on how many images there are, nor the value on batches and their order.

    Args:
        shape: (C, D, P).
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    plot_upper_bound = 1.0

    count: Tensor
    source: Tensor
    cross: Tensor
    square: Tensor
    total_x: Tensor
    total_y: Tensor

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        types, d, places = shape
        sizes = {
            "count": (),
            "source": (types, d + 1, d + 1),
            "cross": (types, d, d + 1),
            "square": (types,),
            "total_x": (types, d + 1, places),
            "total_y": (types, d, places),
        }
        for name, size in sizes.items():
            zeros = torch.zeros(PARTS, *size, dtype=torch.float64)
            self.add_state(name, zeros, dist_reduce_fx="sum")

    def update(self, moved: Tensor, found: Tensor, division: Division) -> None:
        """Take in poses of some images; see `fibre_equivariance`."""
        division = division.to(moved.device)
        y = found.double()
        x = torch.cat([moved.double(), torch.ones_like(y[:, :, :1])], dim=2)
        part = division.fold.where(~division.held_out, HELD_OUT)
        member = torch.nn.functional.one_hot(part, PARTS).double()  # (N, PARTS)
        self.count += member.sum(dim=0)
        self.source += torch.einsum("ns,ncip,ncjp->scij", member, x, x)
        self.cross += torch.einsum("ns,ncip,ncjp->scij", member, y, x)
        self.square += torch.einsum("ns,ncip->sc", member, y.square())
        self.total_x += torch.einsum("ns,ncip->scip", member, x)
        self.total_y += torch.einsum("ns,ncip->scip", member, y)

    def compute(self) -> FibreFit:
        """Fit the maps to all images so far, and try them on those that are held out."""
        folds = [part for part in range(FOLDS) if self.count[part]]
        if not self.total_x.shape[-1] or not self.count[HELD_OUT] or len(folds) < FEWEST_FOLDS:
            nan = self.square.new_full((), torch.nan)
            return FibreFit.of(FibreSums(*(nan,) * len(FibreSums._fields)), nan)
        other = torch.einsum("scip,scjp->scij", self.total_y, self.total_x)
        other = other / self.count.clamp_min(1)[:, None, None, None]
        tested = self._moments(self.cross, HELD_OUT)
        maps = _fit([self._moments(self.cross, fold) for fold in folds])
        unrelated = _fit([self._moments(other, fold) for fold in folds])
        unit = torch.eye(*maps.shape[-2:]).to(maps)
        residual, shuffled, change = (tested.error(each) for each in (maps, unrelated, unit))
        control = torch.minimum(shuffled, change)
        sums = FibreSums(
            *(each.sum() for each in (residual, shuffled, control, change, tested.square))
        )
        off = (maps - unit)[..., :-1].square().sum(dim=(-2, -1)).div(maps.shape[-2]).sqrt()
        return FibreFit.of(sums, off.mean())

    def plot(self, val: Any = None, ax: Any = None) -> Any:
        """Draw the share explained; of a list of results, one after the other.

        Args:
            val: What ``compute`` returned, or a list of such; its own value if left out.
            ax: Axes of matplotlib to draw into.
        """
        found: Any = self.compute() if val is None else val
        one = isinstance(found, FibreFit)
        return self._plot(found.explained if one else [each.explained for each in found], ax)

    def _moments(self, cross: Tensor, part: int) -> Moments:
        return Moments(self.source[part], cross[part][:, None], self.square[part][:, None])


def _fit(folds: Sequence[Moments]) -> Tensor:
    return ridge(together(folds), choose_penalty(folds))
