"""Relation between the presence of capsules and the agreement of the votes for them."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class VoteSpread(NamedTuple):
    """Spread of the votes for each parent.

    Attributes:
        absolute: (..., J) standard deviation around the weighted mean, in the unit of the poses.
        relative: (..., J) the standard deviation divided by the root mean square length of the
            votes: 0 if all votes are equal, 1 if they cancel. It does not depend on the scale.
    """

    absolute: Tensor
    relative: Tensor


def vote_spread(votes: Tensor, weights: Tensor) -> VoteSpread:
    """Compute the spread of the votes for a parent: σ_j² = Σ_ih R_ij (V_ij^h - μ_j^h)² / Σ_i R_ij.

    Article, eq. 22, summed over the components h; for dynamic routing R are the couplings of eq. 8.

    Args:
        votes: (..., I, J, D) of child i for parent j.
        weights: (..., I, J) the assignments R, times the children's presences if the routing
            weights a child by its presence.

    Returns:
        NaN (undefined) if no child's weight goes to the parent; the relative spread also if all
        votes are zero.
    """
    shares = weights.double() / weights.double().sum(dim=-2, keepdim=True)
    mean = torch.einsum("...ij,...ijd->...jd", shares, votes.double())
    distances = (votes.double() - mean.unsqueeze(-3)).square().sum(dim=-1)
    variance = (shares * distances).sum(dim=-2)
    relative = variance / (variance + mean.square().sum(dim=-1))
    return VoteSpread(variance.sqrt(), relative.sqrt())


class SpreadCorrelation(NamedTuple):
    """Correlation of presence and spread: -1 if a smaller spread always means a larger presence.

    Attributes:
        pearson: (J,) linear correlation over images, of each capsule.
        spearman: (J,) rank correlation over images, of each capsule.
        pooled_pearson: () linear correlation over images and capsules.
        pooled_spearman: () rank correlation over images and capsules.
    """

    pearson: Tensor
    spearman: Tensor
    pooled_pearson: Tensor
    pooled_spearman: Tensor


def correlate_presence_with_spread(presences: Tensor, spreads: Tensor) -> SpreadCorrelation:
    """Correlate the presence of capsules with the spread of the votes (article, eq. 9-11 and 27).

    Equal values share their mean rank.

    Args:
        presences: (N, J) of J capsules in N images.
        spreads: (N, J) of the votes for them, from `vote_spread`.

    Returns:
        Correlations in float64; NaN (undefined) if presence or spread is constant or NaN.
    """
    pairs = torch.stack([presences, spreads]).double()
    pooled = pairs.flatten(start_dim=1)[..., None]
    return SpreadCorrelation(
        _correlation(*pairs),
        _correlation(*_ranks(pairs)),
        _correlation(*pooled)[0],
        _correlation(*_ranks(pooled))[0],
    )


def _ranks(values: Tensor) -> Tensor:
    """Return ranks along the images of (..., N, J); NaN for a capsule with any NaN."""
    from scipy.stats import rankdata

    ranks = rankdata(values.cpu().numpy(), axis=-2, nan_policy="propagate")
    return torch.from_numpy(ranks).to(values)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """Return (J,) Pearson correlations along the images of (N, J) and (N, J)."""
    # Rounding of the mean would give constant values a variance.
    constant = (first == first[:1]).all(dim=0) | (second == second[:1]).all(dim=0)
    first, second = first - first.mean(dim=0), second - second.mean(dim=0)
    covariance = (first * second).sum(dim=0)
    correlation = covariance / (first.square().sum(dim=0) * second.square().sum(dim=0)).sqrt()
    return correlation.masked_fill(constant, torch.nan)
