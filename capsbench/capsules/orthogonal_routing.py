"""Sparse attention routing on orthogonal votes, after OrthCaps: no iterations, few couplings.

Geng et al., 'OrthCaps: An Orthogonal CapsNet with Sparse Attention Routing and Pruning' (CVPR
2024). Only the abstract was at hand, and the authors' repository holds no code: orthogonal
transformations by Householder reflections, and sparse attention by alpha-entmax in place of
iterations, are theirs. The equations below are ours, and the pruning of similar primary capsules is
left out.
"""

from __future__ import annotations

import torch
from torch import Tensor

from capsbench.capsules.capsule import squash
from capsbench.capsules.pair_layers import PairRoutingResult
from capsbench.capsules.precision import full_precision
from capsbench.capsules.votes import pair_votes


@full_precision
def entmax(logits: Tensor) -> Tensor:
    """Return the 1.5-entmax of logits (..., J): a softmax that can be exactly zero.

    p_j = max(0, z_j / 2 - t)², with the threshold t at which they sum to one (Peters, Niculae,
    Martins 2019, section 3). The threshold is found among the sorted logits: for each number k of
    positive shares it solves a quadratic equation, and the largest k is right whose k-th logit is
    above the threshold.
    """
    half = (logits - logits.amax(dim=-1, keepdim=True).detach()) / 2
    largest = half.sort(dim=-1, descending=True).values
    count = torch.arange(1, half.shape[-1] + 1, device=half.device, dtype=half.dtype)
    mean = largest.cumsum(dim=-1) / count
    variance = (largest.square().cumsum(dim=-1) / count - mean.square()).clamp_min(0)
    under_root = 1 / count - variance
    # Where it is negative, k is too large. The clamp keeps the gradient of others finite.
    thresholds = mean - under_root.clamp_min(torch.finfo(half.dtype).tiny).sqrt()
    support = ((thresholds <= largest) & (under_root > 0)).sum(dim=-1, keepdim=True)
    last = (support - 1).clamp_min(0)  # there is none among logits that are NaN, and no share
    return (half - thresholds.gather(-1, last)).clamp_min(0).square()


@full_precision
def orthogonal_routing(children: Tensor, weights: Tensor) -> PairRoutingResult:
    """Route capsules to parents by sparse attention of each vote to the mean vote for its parent.

    The agreement of a vote is its dot product with the mean of the votes for its parent; couplings
    are its `entmax` over the parents, so that most can be zero. A parent is the squashed sum of its
    votes with these weights. With the sum of the votes in place of the mean, one parent took all
    children within a few steps, and no gradient was left for the others.

    Args:
        children: (B, I, D).
        weights: (I, J, D, E), the transformation of each pair of child and parent.

    Returns:
        Parents (B, J, E) and couplings (B, I, J).
    """
    votes = pair_votes(children, weights)  # (B, I, J, E)
    couplings = entmax((votes * votes.mean(dim=1, keepdim=True)).sum(dim=-1))
    return PairRoutingResult(squash(torch.einsum("bij,bije->bje", couplings, votes)), couplings)
