"""Change of poses on a map under a view, explained by one affine map for all positions.

The pose at a position also turns with the image. After the map of poses has been warped by
`capsbench.measures._warped_maps`, the remaining change is the same at every position:
f(T_g x)(T_g p) = A_g f(x)(p) if f(T_g x) = T_g f(x) (article, eq. 3).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench.data.folds import NUM_FOLDS, Folds
from capsbench.errors import UserError
from capsbench.metrics.invariance import ROUNDING
from capsbench.statistics.ridge import Moments, cross_validated_ridge

HELD_OUT = NUM_FOLDS  # number of the part that is not used for fitting
PARTS = NUM_FOLDS + 1
MIN_FOLDS = 2  # one for fitting, and one for validation


class PoseSums(NamedTuple):
    """Sums over held-out images, positions and types of capsules, 0-d each.

    Attributes:
        residual: Of ``|f(T_g x) - A_g T_g f(x)|²``.
        shuffled: The same with maps fitted to poses of other images at the same positions.
        control: Of the smaller error of the two controls, type by type.
        change: Of ``|f(T_g x) - T_g f(x)|²``.
        size: Of ``|f(T_g x)|²``, the scale of rounding errors.
    """

    residual: Tensor
    shuffled: Tensor
    control: Tensor
    change: Tensor
    size: Tensor


class PoseFit(NamedTuple):
    """Share of the poses' change that fitted maps explain on held-out images, 0-d each.

    The first three are NaN if nothing changes.

    Attributes:
        explained: ``1 - E|f(T_g x) - A_g T_g f(x)|² / E|f(T_g x) - T_g f(x)|²`` over all positions
            and types: 1 if A_g explains the whole change, 0 if it is no better than no change.
        shuffled_explained: The same with maps fitted to poses of other images at the same
            positions.
        gain_over_control: ``1 - E|f(T_g x) - A_g T_g f(x)|²`` over the smaller error of the two
            controls (no change, and shuffled), selected type by type.
        distance_from_identity: Mean over types of ``|A_g - I| / sqrt(d)`` (Frobenius norm).
        sums: The sums that the shares are computed from.
    """

    explained: Tensor
    shuffled_explained: Tensor
    gain_over_control: Tensor
    distance_from_identity: Tensor
    sums: PoseSums

    @classmethod
    def of(cls, sums: PoseSums, distance: Tensor) -> PoseFit:
        """Compute the shares from their sums.

        Args:
            sums: The sums.
            distance: ``distance_from_identity``.
        """
        unchanged = ~(sums.change > ROUNDING * sums.size)  # also without any pose

        def share(error: Tensor, reference: Tensor) -> Tensor:
            return (1 - error / reference).masked_fill(unchanged, torch.nan)

        return cls(
            explained=share(sums.residual, sums.change),
            shuffled_explained=share(sums.shuffled, sums.change),
            gain_over_control=share(sums.residual, sums.control),
            distance_from_identity=distance,
            sums=sums,
        )

    @property
    def values(self) -> dict[str, Tensor]:
        """The shares and the distance by name."""
        return {name: value for name, value in self._asdict().items() if name != "sums"}


def combine_fits(fits: Sequence[PoseFit]) -> PoseFit:
    """Return the fit over several views: sums are added, so that large changes weigh more.

    Args:
        fits: One or more fits of the same images.

    Raises:
        UserError: There is no fit.
    """
    if not fits:
        raise UserError("expected the fit of at least one view, got none")
    sums = PoseSums(
        *(torch.stack(each).nansum() for each in zip(*(f.sums for f in fits), strict=True))
    )
    distances = torch.stack([fit.distance_from_identity for fit in fits])
    return PoseFit.of(sums, distances.nanmean())


def pose_equivariance(warped: Tensor, transformed: Tensor, folds: Folds) -> PoseFit:
    """Compute the share of the poses' change that one affine map for all positions explains.

    For each type of capsules A_g is fitted by ridge regression, with the penalty from nested
    validation, from T_g f(x) to f(T_g x) at all positions together, and tested on held-out images.
    The shuffled control fits a map to poses of other images at the same positions; it is computed
    in expectation over all pairs of images, without sampling.

    Args:
        warped: (N, C, D, P) of T_g f(x): C types with poses of D numbers at P positions.
        transformed: (N, C, D, P) of f(T_g x), at the same positions.
        folds: Held-out images and folds.

    Returns:
        All NaN without positions, or with too few images to hold some out and validate on others.
    """
    metric = PoseEquivariance(warped.shape[1:], sync_on_compute=False).to(warped.device)
    metric.update(warped, transformed, folds)
    return metric.compute()


class PoseEquivariance(Metric):
    """`pose_equivariance` of one view over batches and processes.

    Sums of products of the D numbers of a pose, and of the poses at each position, are kept: memory
    does not depend on the number of images, nor the result on the batches and their order.

    Args:
        shape: (C, D, P).
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False

    count: Tensor
    source: Tensor
    cross: Tensor
    square: Tensor
    total_x: Tensor
    total_y: Tensor

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        types, d, positions = shape
        sizes = {
            "count": (),
            "source": (types, d + 1, d + 1),
            "cross": (types, d, d + 1),
            "square": (types,),
            "total_x": (types, d + 1, positions),
            "total_y": (types, d, positions),
        }
        for name, size in sizes.items():
            zeros = torch.zeros(PARTS, *size, dtype=torch.float64)
            self.add_state(name, zeros, dist_reduce_fx="sum")

    def update(self, warped: Tensor, transformed: Tensor, folds: Folds) -> None:
        """Add poses of some images; see `pose_equivariance`."""
        folds = folds.to(warped.device)
        y = transformed.double()
        x = torch.cat([warped.double(), torch.ones_like(y[:, :, :1])], dim=2)
        part = folds.fold.where(~folds.held_out, HELD_OUT)
        member = torch.nn.functional.one_hot(part, PARTS).double()  # (N, PARTS)
        self.count += member.sum(dim=0)
        self.source += torch.einsum("ns,ncip,ncjp->scij", member, x, x)
        self.cross += torch.einsum("ns,ncip,ncjp->scij", member, y, x)
        self.square += torch.einsum("ns,ncip->sc", member, y.square())
        self.total_x += torch.einsum("ns,ncip->scip", member, x)
        self.total_y += torch.einsum("ns,ncip->scip", member, y)

    def compute(self) -> PoseFit:
        """Fit the maps to all images so far, and test them on the held-out ones."""
        folds = [part for part in range(NUM_FOLDS) if self.count[part]]
        if not self.total_x.shape[-1] or not self.count[HELD_OUT] or len(folds) < MIN_FOLDS:
            nan = self.square.new_full((), torch.nan)
            return PoseFit.of(PoseSums(*(nan,) * len(PoseSums._fields)), nan)
        other = torch.einsum("scip,scjp->scij", self.total_y, self.total_x)
        other = other / self.count.clamp_min(1)[:, None, None, None]
        held_out_moments = self._moments(self.cross, HELD_OUT)
        unit = torch.eye(*self.cross.shape[-2:]).to(self.cross)
        maps, shuffled_maps = (
            cross_validated_ridge([self._moments(each, fold) for fold in folds], prior=unit).maps
            for each in (self.cross, other)
        )
        residual, shuffled, change = (
            held_out_moments.squared_error(each) for each in (maps, shuffled_maps, unit)
        )
        control = torch.minimum(shuffled, change)
        sums = PoseSums(
            *(each.sum() for each in (residual, shuffled, control, change, held_out_moments.square))
        )
        distance = (maps - unit)[..., :-1].square().sum(dim=(-2, -1)).div(maps.shape[-2]).sqrt()
        return PoseFit.of(sums, distance.mean())

    def _moments(self, cross: Tensor, part: int) -> Moments:
        return Moments(self.source[part], cross[part][:, None], self.square[part][:, None])
