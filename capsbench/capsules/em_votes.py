"""The votes of EM routing: stored, as in the textbook, or recomputed by kernels."""

from __future__ import annotations

import torch
from torch import Tensor

from capsbench.capsules.kernels import em
from capsbench.capsules.kernels.em import PRIOR_SHARE, Assignments, EMKernels, Windows
from capsbench.capsules.mixture import MixtureMoments, one_pass_variance
from capsbench.capsules.votes import pair_votes


class StoredVotes:
    """All votes in memory: the equations themselves, differentiated by autograd.

    Args:
        patches: (N, I, R, D), poses of the children of each of N positions: 4 x 4, or rows.
        weights: (I, P, D, D).
        offsets: (I, R, D), added to the votes of each child; or (I, P, R, D), to those of a pair.
    """

    def __init__(self, patches: Tensor, weights: Tensor, offsets: Tensor) -> None:
        if offsets.dim() == 3:
            offsets = offsets[:, None]
        self.votes = pair_votes(patches, weights) + offsets  # (N, I, P, R, D)
        self.centre = torch.zeros_like(self.votes[:, 0])

    def moments(self, assignments: Assignments) -> MixtureMoments:
        """Return mass (N, P), mean and variance (N, P, R, D) in two passes (article, eq. 21-22)."""
        shares = assignments.shares(self.votes.shape[2]) + PRIOR_SHARE
        shares = shares * assignments.presences[..., None]
        mass = shares.sum(dim=1)
        shares = shares / mass[:, None]
        mean = torch.einsum("nip,niprc->nprc", shares, self.votes)
        squares = (self.votes - mean[:, None]).square()
        return MixtureMoments(mass, mean, torch.einsum("nip,niprc->nprc", shares, squares))

    def log_densities(
        self, mean: Tensor, log_variance: Tensor, base: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log weights of the parents per vote (N, I, P), and log sums (N, I) (eq. 28)."""
        scaled = (self.votes - mean[:, None]) * (-0.5 * log_variance).exp()[:, None]
        distances = scaled.square().sum(dim=(-2, -1))
        log_weights = base[:, None] - 0.5 * distances
        return log_weights, log_weights.logsumexp(dim=-1)


class KernelVotes:
    """Votes that the kernels of a backend compute on each use.

    The one-pass variance E[V²] - E[V]² is accurate for votes around zero, so votes are relative
    to their centre. Means and variances are equivariant to this shift, so no gradient flows through
    it.

    Args:
        kernels: Kernels of a backend.
        patches: (N, I, 4, 4), poses of the children of each of N positions.
        weights: (I, P, 4, 4).
        offsets: (I, 4, 4), added to the votes.
        presences: (N, I), of the children, relative to their sum.
    """

    def __init__(
        self,
        kernels: EMKernels,
        patches: Tensor,
        weights: Tensor,
        offsets: Tensor,
        presences: Tensor,
    ) -> None:
        self.kernels = kernels
        self.centre = _mean_votes(patches, weights, offsets, presences)
        tensors = (patches, weights, offsets, self.centre)
        self.windows = Windows(*(tensor.contiguous() for tensor in tensors))

    def moments(self, assignments: Assignments) -> MixtureMoments:
        """Return mass (N, P), mean and variance (N, P, 4, 4)."""
        log_weights, *others = assignments
        contiguous = Assignments(log_weights, *(tensor.contiguous() for tensor in others))
        mass, mean, square = em.moments(self.kernels, self.windows, contiguous)
        return MixtureMoments(mass, mean, one_pass_variance(mean, square))

    def log_densities(
        self, mean: Tensor, log_variance: Tensor, base: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return the log weights of the parents per vote (N, I, P), and log sums (N, I)."""
        return em.log_densities(self.kernels, self.windows, mean, log_variance, base)


@torch.no_grad()
def _mean_votes(patches: Tensor, weights: Tensor, offsets: Tensor, presences: Tensor) -> Tensor:
    """Compute the mean of the votes, (N, P, 4, 4), in a single matrix product."""
    rows = (presences[..., None, None] * patches).transpose(1, 2)  # (N, 4, I, 4)
    columns = weights.transpose(1, 2).flatten(0, 1).flatten(start_dim=1)  # (I * 4, P * 4)
    votes = (rows.flatten(start_dim=2) @ columns).unflatten(-1, (-1, 4)).transpose(1, 2)
    mean_offsets = presences @ offsets.flatten(start_dim=1)
    return votes + mean_offsets.view(-1, 1, 4, 4)
