"""EM routing: each parent is a Gaussian fitted to the votes of the parts that it explains.

Hinton, Sabour, Frosst, 'Matrix Capsules with EM Routing' (2018); the article's equations 20-29.
Gritzman's 'Avoiding Implementation Pitfalls of Matrix Capsules with EM Routing' (arXiv 1907.00652)
lists three pitfalls: a variance of zero, layers whose parents have very different numbers of
children, and parents at different positions that do not compete for a common child.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.em_variants import PAPER, EMVariant, raised_per_iteration
from capsbench.capsules.mixture import MixtureMoments
from capsbench.capsules.mixture_windows import MixtureWindows
from capsbench.capsules.precision import full_precision
from capsbench.errors import UserError


class EMRoutingResult(NamedTuple):
    """Result of `em_routing`.

    Attributes:
        poses: (B, H', W', P, R, D), the means of the Gaussians.
        presences: (B, H', W', P), the sigmoid of the logits.
        assignments: (B, H', W', P, KH, KW, C), R of the last M-step. They sum to one over all
            parents (positions and types) of a child, unless there is no E-step and the variant
            starts with other sums.
        logits: (B, H', W', P), of the presences (article, eq. 27). They keep a gradient where the
            presence is rounded to 0 or 1: in float32 it is 1 from a logit of 17 on.
    """

    poses: Tensor
    presences: Tensor
    assignments: Tensor
    logits: Tensor


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
    backend: Backend = "auto",
) -> EMRoutingResult:
    """Route matrix capsules to parents with a window of the map each (article, eq. 20-29).

    A window that covers the whole map makes the layer fully connected. The gradient flows through
    all iterations. In float32 results are finite for votes up to 1e15, gradients up to 1e6, but for
    more than five iterations of the authors' code without any present child. A variance is at least
    the rounding of the mean square of the votes around their centre.

    A parent without mass is at the centre of the votes: their mean in its window, weighted by the
    presences of the children. For that the M-step adds 2^-50 to each assignment. Presences whose
    sum in a window is below 2^-33 are raised by what is missing, so that without a present child
    all children count equally. Both are the same in every dtype, and no result jumps.

    Vector poses are rows, R = 1, of 16 elements; only the textbook backend supports them.

    Args:
        poses: (B, H, W, C, R, D) of the children: matrices of 4 x 4, or rows.
        presences: (B, H, W, C) of the children.
        weights: (KH, KW, C, P, D, D), the transformation of each pair of child and parent type.
        beta_u: (P,), cost of a unit of mass in each dimension of the pose.
        beta_a: (P,), cost above which the presence of a parent is below 1/2.
        inverse_temperature: λ of eq. 27, a number or a scalar tensor.
        iterations: Number of M-steps, at least 1.
        stride: Step of the window; without padding.
        offsets: (KH, KW, R, D), added to the votes from each position of the window.
        variant: Details that the equations leave open.
        backend: Implementation, see `capsbench.capsules.backends`.

    Returns:
        Poses, presences and assignments of the parents, and the logits of their presences.

    Raises:
        UserError: ``iterations`` is below 1, no window fits into the map, or the backend cannot run
            here.
    """
    if iterations < 1:
        raise UserError(f"EM routing needs at least one iteration; got {iterations}")
    children = MixtureWindows(
        "EM routing",
        poses,
        presences,
        weights,
        beta_u,
        beta_a,
        stride=stride,
        offsets=offsets,
        backend=backend,
    )
    mass_scale = variant.cost_scale / (children.average_mass if variant.relative_mass else 1)
    assignments = children.uniform(among_positions=variant.split_among_positions)  # eq. 20
    origin = mean = -children.votes.centre
    for iteration in range(iterations):
        # M-step, eq. 21-22
        mass, mean, variance = _m_step(children.moments(assignments), origin, mean, variant)
        variance = (variance + variant.variance_floor).clamp_min(torch.finfo(variance.dtype).eps)
        log_variance = variance.log()
        log_sigma = 0.5 * log_variance.flatten(start_dim=2)
        cost = (variant.beta_u_scale * beta_u[:, None] + log_sigma).sum(dim=-1)
        cost = cost * mass * mass_scale  # eq. 26, over all h
        scaled_lambda = raised_per_iteration(
            variant.inverse_temperature_scale * inverse_temperature,
            iteration=iteration,
            base=variant.inverse_temperature_base,
        )
        logits = scaled_lambda * (variant.beta_a_scale * beta_a - cost)  # eq. 27
        if iteration + 1 == iterations:
            break
        # E-step, eq. 28-29
        power = variant.density_power
        base = F.logsigmoid(logits) - power * log_sigma.sum(dim=-1)
        assignments = children.assign(mean, log_variance - math.log(power), base)
    logits = children.on_map(logits)
    return EMRoutingResult(
        children.on_map(mean + children.votes.centre),
        logits.sigmoid(),
        children.shares(assignments),
        logits,
    )


def _m_step(
    moments: MixtureMoments, origin: Tensor, previous: Tensor, variant: EMVariant
) -> MixtureMoments:
    """Adjust the moments of the votes as the variant requires.

    An epsilon in the mass acts like additional mass at a vote of zero that adds nothing to the
    variance. A memory pulls the mean towards the previous one. The variance is around the adjusted
    mean. Without either the moments are returned unchanged.

    Args:
        moments: Of the votes.
        origin: (N, P, 4, 4), the position of a vote of zero.
        previous: (N, P, 4, 4), the mean of the previous iteration.
        variant: Details that the equations leave open.
    """
    if not variant.pulled_to_zero:
        return moments
    mass = moments.mass + variant.mass_epsilon
    share = (moments.mass / mass)[..., None, None]
    mean = share * moments.mean + (1 - share) * origin
    mean = (1 - variant.memory) * mean + variant.memory * previous
    variance = share * (moments.variance + (moments.mean - mean).square())
    return MixtureMoments(mass, mean, variance)
