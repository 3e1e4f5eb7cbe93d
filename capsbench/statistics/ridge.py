"""Ridge regression of several groups and targets together, from moments of the samples.

Affine maps A are fitted from x to y. Fit, selection of the penalty and errors on other samples are
all computed from sums of products, which are small and can be added over batches and folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

PENALTIES = tuple(10.0**power for power in range(-8, 3))  # in units of the mean variance of x


class Moments(NamedTuple):
    """Sums over samples of products of x, with a 1 appended, and y.

    There are K groups of samples, such as classes, and V targets, such as views, of p numbers each.

    Attributes:
        source: (..., K, d + 1, d + 1) sum of x xᵀ.
        cross: (..., K, V, p, d + 1) sum of y xᵀ.
        square: (..., K, V) sum of ``|y|²``.
    """

    source: Tensor
    cross: Tensor
    square: Tensor

    @classmethod
    def of(cls, x: Tensor, y: Tensor, groups: Sequence[Tensor]) -> Self:
        """Compute the moments of groups of samples.

        Args:
            x: (N, d).
            y: (N, V, p).
            groups: For each of the K groups the rows of its samples.
        """
        extended = torch.cat([x, x.new_ones(len(x), 1)], dim=1)
        samples = [(extended[rows], y[rows]) for rows in groups]
        return cls(
            torch.stack([a.T @ a for a, _ in samples]),
            torch.stack([torch.einsum("nvi,nj->vij", b, a) for a, b in samples]),
            torch.stack([b.square().sum(dim=(0, 2)) for _, b in samples]),
        )

    @property
    def num_samples(self) -> Tensor:
        """Number of samples, (..., K)."""
        return self.source[..., -1, -1]

    def minus(self, other: Moments) -> Moments:
        """Return the moments of the samples that are not in ``other``."""
        return Moments(*(a - b for a, b in zip(self, other, strict=True)))

    def covariance(self) -> Tensor:
        """Return the sum of x xᵀ about the mean of x in each group, (..., K, d, d)."""
        total = self.source[..., :-1, -1:]
        return self.source[..., :-1, :-1] - total @ total.mT / self.source[..., -1:, -1:]

    def variance(self) -> Tensor:
        """Return the mean variance of the d numbers of x in each group, (..., K)."""
        return self.covariance().diagonal(dim1=-2, dim2=-1).mean(dim=-1) / self.num_samples

    def target_spread(self) -> Tensor:
        """Return the sum of squared distances of y from their mean in each group, (..., K, V)."""
        total = self.cross[..., -1].square().sum(dim=-1)
        return self.square - total / self.num_samples[..., None]

    def squared_error(self, maps: Tensor) -> Tensor:
        """Return the sum of ``|y - A x|²``, (..., K, V), for maps A (..., K, V, p, d + 1)."""
        predicted = maps @ self.source[..., None, :, :]
        return self.square + ((predicted - 2 * self.cross) * maps).sum(dim=(-2, -1))


def sum_moments(parts: Sequence[Moments]) -> Moments:
    """Return the moments of the samples of all parts."""
    return Moments(*(torch.stack(sums).sum(dim=0) for sums in zip(*parts, strict=True)))


def fit_ridge(
    moments: Moments,
    penalty: Tensor | float,
    *,
    prior: Tensor | None = None,
    unit: Tensor | None = None,
) -> Tensor:
    """Fit affine maps by ridge regression; their constants are not penalized.

    Minimizes ``Σ |y - A x|² + λ n s |A - A₀|²``, with n the number of samples, s the unit of λ and
    A₀ the prior: without evidence, A is A₀.

    Args:
        moments: Moments of the training samples.
        penalty: λ, a number or (K, V).
        prior: A₀, (p, d + 1), zero by default.
        unit: s, (..., K); by default the mean variance of x over the training samples.

    Returns:
        A, (..., K, V, p, d + 1), with the constant in the last column.
    """
    source = moments.source[..., None, :, :]
    unit = moments.variance() if unit is None else unit
    scale = (moments.num_samples * unit.where(unit > 0, 1))[
        ..., None
    ]  # any unit, if x does not vary
    weight = torch.ones_like(source[..., 0])
    weight[..., -1] = 0
    added = torch.diag_embed(weight * (penalty * scale)[..., None])
    if prior is None:
        return torch.linalg.solve(source + added, moments.cross.mT).mT
    change = moments.cross - prior @ source
    return prior + torch.linalg.solve(source + added, change.mT).mT


class RidgeFit(NamedTuple):
    """Maps whose penalties were selected by cross-validation.

    Attributes:
        maps: A, (K, V, p, d + 1), fitted to all folds.
        penalty: λ, (K, V).
    """

    maps: Tensor
    penalty: Tensor


def cross_validated_ridge(
    folds: Sequence[Moments],
    penalties: Sequence[float] = PENALTIES,
    *,
    prior: Tensor | None = None,
    unit: Tensor | None = None,
) -> RidgeFit:
    """Fit affine maps to all folds with the penalty of `select_penalty`; see there."""
    penalty = select_penalty(folds, penalties, prior=prior, unit=unit)
    return RidgeFit(fit_ridge(sum_moments(folds), penalty, prior=prior, unit=unit), penalty)


def select_penalty(
    folds: Sequence[Moments],
    penalties: Sequence[float] = PENALTIES,
    *,
    prior: Tensor | None = None,
    unit: Tensor | None = None,
) -> Tensor:
    """Return the penalties, (K, V), with the least squared error in cross-validation.

    Args:
        folds: Moments of the training samples by fold; maps are tested on the fold that they were
            not fitted to.
        penalties: Candidates, see `fit_ridge`.
        prior: See `fit_ridge`.
        unit: See `fit_ridge`.
    """
    all_moments = sum_moments(folds)
    by_fold = Moments(*map(torch.stack, zip(*folds, strict=True)))  # all folds at once
    others = all_moments.minus(by_fold)
    errors = [
        by_fold.squared_error(fit_ridge(others, penalty, prior=prior, unit=unit)).sum(dim=0)
        for penalty in penalties
    ]
    best = torch.stack(errors).argmin(dim=0)
    return all_moments.square.new_tensor(penalties)[best]


def predict(maps: Tensor, x: Tensor) -> Tensor:
    """Return A x, (n, V, p), for samples x, (n, d), of one group and its maps, (V, p, d + 1)."""
    return torch.einsum("vij,nj->nvi", maps[..., :-1], x) + maps[..., -1]


def r_squared(predicted: Tensor, targets: Tensor) -> Tensor:
    """Return R² of each target, (T,): 1 - Σ(y - ŷ)² / Σ(y - ȳ)² over (N, T).

    It is NaN (undefined) for a constant target.
    """
    residual = (targets - predicted).square().sum(dim=0)
    total = (targets - targets.mean(dim=0)).square().sum(dim=0)
    constant = (targets == targets[:1]).all(dim=0)  # its mean may be off by rounding
    return (1 - residual / total).masked_fill(constant, torch.nan)
