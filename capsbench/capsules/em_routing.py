"""EM routing: each parent is a Gaussian fitted to the votes of the parts that it explains.

Hinton, Sabour, Frosst, 'Matrix Capsules with EM Routing' (2018); the article's equations 20-29. Of
what can go wrong, Gritzman's 'Avoiding Implementation Pitfalls of Matrix Capsules with EM Routing'
(arXiv 1907.00652) lists three: a variance of zero, layers whose parents see very different numbers
of children, and parents at different places that do not compete for the child which both see.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.capsules.precision import full_precision
from capsbench.capsules.votes import window_votes
from capsbench.capsules.windows import sum_over_windows, windows

VARIANCE_FLOOR = 5e-4  # of the authors' code: pitfall 1, a parent with one child has no variance
MASS_EPSILON = 1e-7  # of the authors' code: a parent may be assigned nothing


class EMRouted(NamedTuple):
    """What `em_routing` finds.

    Attributes:
        poses: (B, H', W', P, 4, 4), the means of the Gaussians.
        presences: (B, H', W', P).
        assignments: (B, H', W', P, KH, KW, C), R of the last M-step; over all parents (places and
            types) that see a child it sums to one.
    """

    poses: Tensor
    presences: Tensor
    assignments: Tensor


@full_precision
def em_routing(
    poses: Tensor,
    presences: Tensor,
    weights: Tensor,
    *,
    beta_u: Tensor,
    beta_a: Tensor,
    inverse_temperature: Tensor | float,
    iterations: int,
    stride: int = 1,
    offsets: Tensor | None = None,
) -> EMRouted:
    """Route matrix capsules to parents that each see a window of the map (article, eq. 20-29).

    A window that covers the whole map makes the layer fully connected. Mass enters the cost
    relative to the layer's number of children per parent (pitfall 2), so that costs, betas and
    inverse temperature mean the same in layers of any size. The gradient flows through all
    iterations.

    Args:
        poses: (B, H, W, C, 4, 4) of the children.
        presences: (B, H, W, C) of the children.
        weights: (KH, KW, C, P, 4, 4), the transformation of each pair of child and parent type.
        beta_u: (P,), cost of a unit of mass in each dimension of the pose.
        beta_a: (P,), cost above which a parent is rather absent.
        inverse_temperature: λ of eq. 27, a number or a scalar tensor.
        iterations: How many M-steps, at least 1.
        stride: Step of the window, which never leaves the map.
        offsets: (KH, KW, 4, 4), added to the votes from each place of the window.

    Returns:
        Poses, presences and assignments of the parents.
    """
    kernel = weights.shape[0], weights.shape[1]
    votes = window_votes(poses, weights, stride=stride, offsets=offsets)
    # The variance of one pass, E[V²] - E[V]², is safe only for votes around zero; means and
    # variances do not mind the shift, hence no gradient through it.
    centre = votes.detach().mean(dim=-2, keepdim=True)
    votes = votes - centre  # (B, H', W', P, I, 16) with I = KH * KW * C
    rounding = torch.finfo(votes.dtype).eps  # below this share of E[V²] a variance is noise
    squares = votes.square()

    places, types = votes.shape[1:3], votes.shape[3]
    child_presences = windows(presences, kernel, stride)[:, :, :, None].flatten(start_dim=4)
    mass_scale = math.prod(places) * types / math.prod(presences.shape[1:])
    size = presences.shape[1], presences.shape[2]

    # eq. 20: uniform over all parents that see the child
    even = votes.new_full((1, *places, *kernel, 1), math.log(types))
    log_assignments = -_log_total(even, size, stride).flatten(start_dim=3)[:, :, :, None]
    log_assignments = log_assignments.repeat_interleave(weights.shape[2], dim=-1)
    assignments = log_assignments.exp().expand(votes.shape[:-1])
    for iteration in range(iterations):
        # M-step
        assigned = assignments * child_presences  # eq. 21
        mass = assigned.sum(dim=-1)
        shares = (assigned / (mass + MASS_EPSILON)[..., None])[..., None, :]
        mean = shares @ votes  # eq. 22: (B, H', W', P, 1, 16)
        second = shares @ squares
        variance = (second - mean.square()).maximum(rounding * second) + VARIANCE_FLOOR
        log_sigma = 0.5 * variance.log().squeeze(-2)
        cost = (beta_u[:, None] + log_sigma).sum(dim=-1) * mass * mass_scale  # eq. 26, over all h
        logits = inverse_temperature * (beta_a - cost)  # eq. 27
        if iteration + 1 == iterations:
            break
        # E-step: the quadratic form of eq. 28 as two products, without 2π, which eq. 29 cancels
        precision = 1 / variance
        distance = squares @ (0.5 * precision).mT - votes @ (mean * precision).mT
        constant = (0.5 * mean.square() * precision).sum(dim=-1) + log_sigma.sum(
            dim=-1, keepdim=True
        )
        log_weights = F.logsigmoid(logits)[..., None] - constant - distance.squeeze(-1)
        sums = log_weights.logsumexp(dim=3).unflatten(-1, (*kernel, -1))
        total = _log_total(sums, size, stride).flatten(start_dim=3)
        assignments = (log_weights - total[:, :, :, None]).exp()  # eq. 29
    pose = (mean + centre).squeeze(-2).unflatten(-1, (4, 4))
    return EMRouted(pose, logits.sigmoid(), assignments.unflatten(-1, (*kernel, -1)))


def _log_total(sums: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """The log of each child's sum over all windows that see it, told to each of them.

    Args:
        sums: (B, H', W', KH, KW, C), logs of what each window has to add.
        size: (H, W) of the map of children.
        stride: Step of the window.

    Returns:
        (B, H', W', KH, KW, C).
    """
    batch, height, width, *kernel, channels = sums.shape
    if (height, width) == (1, 1):
        return sums
    largest = sums.new_full((batch, *size, channels), -torch.inf)
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            seen = largest[
                :,
                y : y + stride * (height - 1) + 1 : stride,
                x : x + stride * (width - 1) + 1 : stride,
            ]
            seen.copy_(seen.maximum(sums.detach()[:, :, :, y, x]))
    window = kernel[0], kernel[1]
    largest = windows(largest, window, stride)
    total = sum_over_windows((sums - largest).exp(), size, stride)
    return largest + windows(total, window, stride).log()
