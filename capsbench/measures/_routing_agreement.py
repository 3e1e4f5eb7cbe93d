"""Whether a capsule's presence means that the votes for it agree."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from scipy.stats import rankdata
from torch import Tensor

from capsbench.measures.kept_rows import KeptRows


class VoteSpread(NamedTuple):
    """How far the votes for each parent lie apart.

    Attributes:
        absolute: (..., J) standard deviation about the weighted mean, in the units of the poses.
        relative: (..., J) the same over the root mean square length of the votes: 0 where all votes
            are one, 1 where they cancel; longer votes do not change it.
    """

    absolute: Tensor
    relative: Tensor


def vote_spread(votes: Tensor, weights: Tensor) -> VoteSpread:
    """Spread of the votes for a parent: σ_j² = Σ_ih R_ij (V_ij^h - μ_j^h)² / Σ_i R_ij.

    Article, eq. 22, summed over the components h; for dynamic routing R are the couplings of eq. 8.

    Args:
        votes: (..., I, J, D) of child i for parent j.
        weights: (..., I, J) the assignments R, times the children's presences where routing counts
            a child by its presence.

    Returns:
        NaN (undefined) where no child's weight goes to the parent; the relative spread also where
        all votes are zero.
    """
    shares = weights.double() / weights.double().sum(dim=-2, keepdim=True)
    mean = torch.einsum("...ij,...ijd->...jd", shares, votes.double())
    distances = (votes.double() - mean.unsqueeze(-3)).square().sum(dim=-1)
    variance = (shares * distances).sum(dim=-2)
    relative = variance / (variance + mean.square().sum(dim=-1))
    return VoteSpread(variance.sqrt(), relative.sqrt())


class Agreement(NamedTuple):
    """How presence goes with the spread of votes: -1 where tighter votes always mean more presence.

    Attributes:
        pearson: (J,) linear correlation of each capsule over images.
        spearman: (J,) rank correlation of each capsule over images.
        pooled_pearson: () linear correlation over images and capsules together.
        pooled_spearman: () rank correlation over images and capsules together.
        n: Number of images.
    """

    pearson: Tensor
    spearman: Tensor
    pooled_pearson: Tensor
    pooled_spearman: Tensor
    n: int


def presence_against_spread(presences: Tensor, spreads: Tensor) -> Agreement:
    """Whether presence means agreement of the votes (article, eq. 9-11 and 27).

    Ties share the mean of their ranks.

    Args:
        presences: (N, J) of J capsules in N images.
        spreads: (N, J) of the votes for them, from `vote_spread`.

    Returns:
        Correlations in float64, NaN (undefined) where presence or spread does not vary or is not
        defined itself.
    """
    pairs = torch.stack([presences, spreads]).double()
    pooled = pairs.flatten(start_dim=1)[..., None]
    return Agreement(
        _correlation(*pairs),
        _correlation(*_ranks(pairs)),
        _correlation(*pooled)[0],
        _correlation(*_ranks(pooled))[0],
        presences.shape[0],
    )


class PresenceAgainstSpread(KeptRows):
    """`presence_against_spread` over batches and processes; it keeps both numbers of each capsule.

    ``compute`` gives an `Agreement`.

    Args:
        capsules: J.
    """

    higher_is_better = False
    plot_lower_bound = -1.0
    plot_upper_bound = 1.0

    def __init__(self, capsules: int, **kwargs: Any) -> None:
        super().__init__(("presences", "spreads"), **kwargs)
        self.capsules = capsules

    def update(self, presences: Tensor, spreads: Tensor) -> None:
        """Add images: presences (B, J) and spreads (B, J)."""
        self.keep(presences, spreads)

    def compute(self) -> Agreement:
        """The correlations over all images."""
        pairs = self.kept()
        return presence_against_spread(*(part.unflatten(0, (-1, self.capsules)) for part in pairs))

    def plot(self, val: Agreement | Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Draw the rank correlation of each capsule, or the values that are given."""
        if val is not None and not isinstance(val, Agreement):
            return self._plot(val, ax)
        found = self.compute() if val is None else val
        curves = {"presence against spread of votes": found.spearman}
        drawn: Any = self._plot(curves, ax)
        drawn[1].set_xlabel("capsule")
        return drawn


def _ranks(values: Tensor) -> Tensor:
    """Ranks along the images (..., N, J), NaN along with what is not a number."""
    ranks = rankdata(values.cpu().numpy(), axis=-2, nan_policy="propagate")
    return torch.from_numpy(ranks).to(values)


def _correlation(first: Tensor, second: Tensor) -> Tensor:
    """(J,) Pearson's correlations along the images of (N, J) and (N, J)."""
    # Rounding of the mean would give what is constant some variance.
    alike = (first == first[:1]).all(dim=0) | (second == second[:1]).all(dim=0)
    first, second = first - first.mean(dim=0), second - second.mean(dim=0)
    products = (first * second).sum(dim=0)
    found = products / (first.square().sum(dim=0) * second.square().sum(dim=0)).sqrt()
    return found.masked_fill(alike, torch.nan)
