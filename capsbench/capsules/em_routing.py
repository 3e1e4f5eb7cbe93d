"""EM routing: each parent is a Gaussian fitted to the votes of the parts that it explains.

Hinton, Sabour, Frosst, 'Matrix Capsules with EM Routing' (2018); the article's equations 20-29.
Gritzman's 'Avoiding Implementation Pitfalls of Matrix Capsules with EM Routing' (arXiv 1907.00652)
lists three pitfalls: a variance of zero, layers whose parents have very different numbers of
children, and parents at different positions that do not compete for a common child.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import choose
from capsbench.capsules.em_variants import PAPER, EMVariant, raised_per_iteration
from capsbench.capsules.em_votes import KernelVotes, StoredVotes
from capsbench.capsules.kernels.em import Assignments
from capsbench.capsules.kernels.loading import kernels
from capsbench.capsules.mixture import MixtureMoments
from capsbench.capsules.precision import full_precision
from capsbench.capsules.windows import num_covered_positions, sum_over_windows, windows
from capsbench.errors import UserError

# Least sum of the presences in a window, so that votes have a mean if no child is present. The same
# in every dtype.
LEAST_PRESENCE = 2.0**-33


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
    kernel, types = (weights.shape[0], weights.shape[1]), weights.shape[3]
    size = presences.shape[1], presences.shape[2]
    if iterations < 1:
        raise UserError(f"EM routing needs at least one iteration; got {iterations}")
    if size[0] < kernel[0] or size[1] < kernel[1]:
        raise UserError(
            f"EM routing needs a map of at least {kernel[0]} x {kernel[1]} positions, its window; "
            f"got {size[0]} x {size[1]}"
        )
    # N positions (of all images and the whole map) have I children each.
    patches = windows(poses, kernel, stride)
    grid = patches.shape[:6]  # (B, H', W', KH, KW, C)
    patches = patches.flatten(3, 5).flatten(0, 2)
    child_presences = windows(presences, kernel, stride).flatten(3, 5).flatten(0, 2)
    num_positions, num_children = child_presences.shape
    # The moments depend on ratios of presences only, and sums of tiny ones would underflow.
    missing = (LEAST_PRESENCE - child_presences.sum(dim=-1, keepdim=True)).clamp_min(0)
    child_presences = child_presences + missing
    total_presence = child_presences.sum(dim=-1, keepdim=True)
    child_presences = child_presences / total_presence
    if offsets is None:
        offsets = patches.new_zeros(*kernel, *patches.shape[-2:])
    offsets = offsets[:, :, None].expand(-1, -1, grid[5], -1, -1).flatten(0, 2)
    transforms = weights.flatten(0, 2)
    votes: _Votes
    tensors = (poses, presences, weights, beta_u, beta_a)
    implementation = choose(backend, tensors, num_positions * num_children * 16 * types, 16 * types)
    if patches.shape[-2:] != (4, 4):
        if backend not in ("auto", "textbook"):
            raise UserError(f"vector poses need the routing backend 'textbook'; got '{backend}'")
        implementation = "textbook"
    if implementation == "textbook":
        votes = StoredVotes(patches, transforms, offsets)
    else:
        passes = kernels("em", implementation)
        votes = KernelVotes(passes, patches, transforms, offsets, child_presences)

    num_covered = num_covered_positions(size, kernel, stride) * grid[5]
    average_mass = num_covered / (math.prod(grid[1:3]) * types)
    mass_scale = variant.cost_scale / (average_mass if variant.relative_mass else 1)

    # eq. 20: uniform over all parents of the child
    uniform = patches.new_full((1, *grid[1:5], 1), math.log(types))
    if variant.split_among_positions:
        uniform = _log_total(uniform, size, stride)
    log_totals = uniform.expand(grid).reshape(num_positions, num_children)
    log_weights = None
    origin = mean = -votes.centre
    for iteration in range(iterations):
        # M-step, eq. 21-22
        assignments = Assignments(log_weights, log_totals, child_presences)
        moments = votes.moments(assignments)
        moments = moments._replace(mass=moments.mass * total_presence)
        mass, mean, variance = _m_step(moments, origin, mean, variant)
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
        log_weights, log_sums = votes.log_densities(mean, log_variance - math.log(power), base)
        log_totals = _log_total(log_sums.view(grid), size, stride).reshape(log_sums.shape)
    pose = (mean + votes.centre).unflatten(0, grid[:3])
    assigned = assignments.shares(types).mT.unflatten(0, grid[:3]).unflatten(-1, grid[3:])
    logits = logits.unflatten(0, grid[:3])
    return EMRoutingResult(pose, logits.sigmoid(), assigned, logits)


class _Votes(Protocol):
    """Votes relative to a centre (N, P, 4, 4), through which no gradient flows."""

    centre: Tensor

    def moments(self, assignments: Assignments) -> MixtureMoments:
        """Return mass (N, P), mean and variance (N, P, 4, 4) of the votes of present children."""

    def log_densities(
        self, mean: Tensor, log_variance: Tensor, base: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute log densities, see `capsbench.capsules.kernels.em.EMKernels.log_densities`."""


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


def _log_total(sums: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Return the log of each child's sum over all its windows, for each of these windows.

    Args:
        sums: (B, H', W', KH, KW, C), logs of the terms of each window.
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
            region = largest[
                :,
                y : y + stride * (height - 1) + 1 : stride,
                x : x + stride * (width - 1) + 1 : stride,
            ]
            region.copy_(region.maximum(sums.detach()[:, :, :, y, x]))
    window = kernel[0], kernel[1]
    largest = windows(largest, window, stride)
    total = sum_over_windows((sums - largest).exp(), size, stride)
    return largest + windows(total, window, stride).log()
