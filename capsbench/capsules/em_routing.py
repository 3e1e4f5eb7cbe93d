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

from capsbench.capsules.em_variants import PAPER, EMVariant, raised_per_iteration
from capsbench.capsules.mixture import (
    Moments,
    Points,
    log_density,
    nonzero,
    weighted_moments,
)
from capsbench.capsules.precision import full_precision
from capsbench.capsules.votes import window_votes
from capsbench.capsules.windows import seen_places, sum_over_windows, windows
from capsbench.errors import UserError


class EMRouted(NamedTuple):
    """What `em_routing` finds.

    Attributes:
        poses: (B, H', W', P, 4, 4), the means of the Gaussians.
        presences: (B, H', W', P).
        assignments: (B, H', W', P, KH, KW, C), R of the last M-step; over all parents (places and
            types) that see a child it sums to one, unless the variant starts otherwise and never
            had an E-step.
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
    variant: EMVariant = PAPER,
) -> EMRouted:
    """Route matrix capsules to parents that each see a window of the map (article, eq. 20-29).

    A window that covers the whole map makes the layer fully connected. The gradient flows through
    all iterations. Results and gradients are finite for votes up to 1e15 in float32. No variance is
    taken for smaller than the rounding of the mean square of the votes for its parent, absent ones
    too: in float32 that exceeds the floor of the variance where votes lie a hundred apart.

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
        variant: What the equations leave open.

    Returns:
        Poses, presences and assignments of the parents.

    Raises:
        UserError: There is no iteration, or no window fits into the map.
    """
    kernel, types = (weights.shape[0], weights.shape[1]), weights.shape[3]
    size = presences.shape[1], presences.shape[2]
    if iterations < 1:
        raise UserError(f"EM routing needs at least one iteration; got {iterations}")
    if size[0] < kernel[0] or size[1] < kernel[1]:
        raise UserError(
            f"EM routing needs a map of at least {kernel[0]} x {kernel[1]} places for its window; "
            f"got {size[0]} x {size[1]}"
        )
    child_presences = windows(presences, kernel, stride)[:, :, :, None].flatten(start_dim=4)
    votes = window_votes(poses, weights, stride=stride, offsets=offsets)
    places = votes.shape[1:3]
    centre = _centre(votes.detach(), child_presences.detach())
    votes = votes - centre
    scale = _scale(votes.detach(), centre if variant.pulled_to_zero else torch.zeros_like(centre))
    points = Points.at(votes.div_(scale))
    log_scale = scale.log()
    children = seen_places(size, kernel, stride) * weights.shape[2]
    average_mass = children / (math.prod(places) * types)
    mass_scale = variant.cost_scale / (average_mass if variant.relative_mass else 1)
    rounding = torch.finfo(votes.dtype).eps  # of the squares of the points: variances start here

    # eq. 20: uniform over all parents that see the child
    even = votes.new_full((1, *places, *kernel, 1), math.log(types))
    if variant.split_among_places:
        even = _log_total(even, size, stride)
    log_assignments = -even.flatten(start_dim=3)[:, :, :, None]
    log_assignments = log_assignments.repeat_interleave(weights.shape[2], dim=-1)
    assignments = log_assignments.exp().expand(votes.shape[:-1])
    origin = -centre / scale  # a vote of zero, in units of the centred and scaled votes
    mean = origin
    for iteration in range(iterations):
        # M-step, eq. 21-22
        assigned = (assignments * child_presences)[..., None, :]
        moments = weighted_moments(points, assigned)
        mass, mean, variance = _m_step(moments, origin, mean, variant)
        variance = (variance + variant.variance_floor / scale.square()).clamp_min(rounding)
        log_sigma = (0.5 * variance.log() + log_scale).squeeze(-2)
        cost = (variant.beta_u_scale * beta_u[:, None] + log_sigma).sum(dim=-1)
        cost = cost * mass.squeeze(-1) * mass_scale  # eq. 26, over all h
        coldness = raised_per_iteration(
            variant.inverse_temperature_scale * inverse_temperature,
            iteration=iteration,
            base=variant.inverse_temperature_base,
        )
        logits = coldness * (variant.beta_a_scale * beta_a - cost)  # eq. 27
        if iteration + 1 == iterations:
            break
        # E-step, eq. 28-29
        log_densities = log_density(points, mean, variance).squeeze(-2)
        log_densities = log_densities - log_scale.sum(dim=-1)
        log_weights = F.logsigmoid(logits)[..., None] + log_densities
        sums = log_weights.logsumexp(dim=3).unflatten(-1, (*kernel, -1))
        total = _log_total(sums, size, stride).flatten(start_dim=3)
        assignments = (log_weights - total[:, :, :, None]).exp()
    pose = (mean * scale + centre).squeeze(-2).unflatten(-1, (4, 4))
    return EMRouted(pose, logits.sigmoid(), assignments.unflatten(-1, (*kernel, -1)))


# A variance of one pass is accurate for votes around zero, and its gradient finite where squares
# and their reciprocals are; hence votes are centred and, where they lie far apart, scaled. Means
# and variances follow shift and scale: no gradient flows through either.


def _centre(votes: Tensor, presences: Tensor) -> Tensor:
    """The mean vote of the children that are present.

    Args:
        votes: (B, H', W', P, I, 16).
        presences: (B, H', W', 1, I).

    Returns:
        (B, H', W', P, 1, 16).
    """
    shares = presences / nonzero(presences.sum(dim=-1, keepdim=True))
    return shares[..., None, :] @ votes


def _scale(votes: Tensor, distance: Tensor) -> Tensor:
    """How far centred votes lie apart: a power of two, which costs no accuracy, and at least 1.

    Args:
        votes: (B, H', W', P, I, 16).
        distance: (B, H', W', P, 1, 16), how far the mean may lie off their centre.

    Returns:
        (B, H', W', P, 1, 16).
    """
    spread = (votes.square().mean(dim=-2, keepdim=True) + distance.square()).sqrt()
    return torch.ldexp(torch.ones_like(spread), spread.frexp().exponent.clamp_min(0))


def _m_step(moments: Moments, origin: Tensor, previous: Tensor, variant: EMVariant) -> Moments:
    """The moments that a variant takes for the weighted ones of the votes.

    An epsilon in the mass acts like as much more mass at a vote of zero that adds nothing to the
    variance, a memory draws the mean to the previous one; the variance is that around the mean
    taken. Without either all stays as it is.

    Args:
        moments: Of the votes, with K = 1.
        origin: (..., 1, 16), where a vote of zero lies.
        previous: (..., 1, 16), the mean of the previous iteration.
        variant: What the equations leave open.
    """
    mass = moments.mass + variant.mass_epsilon
    rest = (variant.mass_epsilon / nonzero(mass))[..., None]
    mean = moments.mean + rest * (origin - moments.mean)
    mean = (1 - variant.memory) * mean + variant.memory * previous
    variance = (1 - rest) * (moments.variance + (moments.mean - mean).square())
    return Moments(mass, mean, variance)


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
