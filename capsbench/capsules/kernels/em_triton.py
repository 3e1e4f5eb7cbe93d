"""EM routing's passes over the votes in Triton, for GPUs; votes are in registers only.

A program computes the votes of each child for all parent types, a tile (row, position, type,
column). A thread has all sixteen elements of a vote, and types are adjacent, so that sums over the
types stay within a warp. Sums over children, or over positions, are computed per program and then
over the programs, in a fixed order. There are no atomics, and results are deterministic to the bit.

A launch reads from device memory once the tensors with a number per child or vote; the weights and
the parents' tensors stay in the caches. It writes results and partial sums, which are read once:

| kernel | reads | writes |
| --- | --- | --- |
| `sum_votes` | patches, assignments | (slices of children, 33, N, P) |
| `log_densities` | patches | (N, I, P), (N, I) |
| `gradients` | patches, assignments | their gradients; (groups of tiles, I, 4, P, 4) |

See `capsbench.capsules.kernels.em.EMKernels` for the definition of each function.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from capsbench.capsules.kernels import em_device as device
from capsbench.capsules.kernels.em import PRIOR_SHARE, Assignments, Windows
from capsbench.capsules.kernels.triton_launch import (
    THREADS,
    launch,
    power_of_two,
    programs_for_each,
)


def moments(windows: Windows, assignments: Assignments) -> tuple[Tensor, Tensor, Tensor]:
    """Return mass (N, P), and mean and mean square (N, P, 4, 4) around the centre."""
    mass, first, second = _sums(windows, assignments, prior=PRIOR_SHARE)
    divisor = mass[..., None, None]
    return mass, first / divisor, second / divisor


def moments_gradient(
    windows: Windows,
    assignments: Assignments,
    moments: tuple[Tensor, Tensor, Tensor],
    gradients: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return gradients of patches, weights, log_weights, log_totals and presences."""
    (mass, mean, square), (dmass, dmean, dsquare) = moments, gradients
    slope, curvature = (x / mass[..., None, None] for x in (dmean, dsquare))
    through_mass = (slope * mean + curvature * square).sum(dim=(2, 3))
    presences = assignments.presences
    dlog_weights = presences.new_empty(*presences.shape, mass.shape[1])
    dlog_totals, dpresences = torch.empty_like(presences), torch.empty_like(presences)
    dpatches, dweights = _backward_votes(
        windows,
        assignments,
        curvature,
        slope=slope,
        base=dmass - through_mass,
        prior=PRIOR_SHARE,
        gradients=(dlog_weights, dlog_totals, dpresences),
    )
    return dpatches, dweights, dlog_weights, dlog_totals, dpresences


def log_densities(
    windows: Windows, mean: Tensor, precision: Tensor, base: Tensor
) -> tuple[Tensor, Tensor]:
    """Return log weights of the parents per vote (N, I, P), and log sums (N, I)."""
    num_positions, num_children = windows.patches.shape[:2]
    log_weights = base.new_empty(num_positions, num_children, base.shape[1])
    log_sums = base.new_empty(num_positions, num_children)
    tiles, arguments = _tiles(windows)
    size = math.ceil(num_children / programs_for_each(tiles, waves=4))
    launch(
        device.log_densities,
        (tiles, math.ceil(num_children / size)),
        *_vote_inputs(windows, windows.centre + mean),
        precision,
        base,
        log_weights,
        log_sums,
        SLICE=size,
        **arguments,
    )
    return log_weights, log_sums


def log_densities_gradient(
    windows: Windows,
    mean: Tensor,
    precision: Tensor,
    outputs: tuple[Tensor, Tensor],
    gradients: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return gradients of patches, weights, mean, log precision and base."""
    (log_weights, log_sums), (dlog_weights, dlog_sums) = outputs, gradients
    windows = windows._replace(centre=windows.centre + mean)
    # The gradient of a density: its share of the gradient of its sum, plus its own.
    slopes = Assignments(log_weights, log_sums, dlog_sums)
    dbase, dmean, moment = _sums(windows, slopes, dlog_weights, precision)
    dpatches, dweights = _backward_votes(windows, slopes, -0.5 * precision, added=dlog_weights)
    return dpatches, dweights, dmean, -0.5 * moment, dbase


def _sums(
    windows: Windows,
    assignments: Assignments,
    added: Tensor | None = None,
    precision: Tensor | None = None,
    prior: float = 0.0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sum assignments (N, P), and votes V and V² times the assignments, over the children.

    Args:
        windows: The votes.
        assignments: Their weights are R + prior, times the presence.
        added: (N, I, P), added to the weights.
        precision: (N, P, 4, 4), by which V and V² are multiplied.
        prior: Added to R.
    """
    shape = windows.centre.shape
    tiles, arguments = _tiles(windows)
    num_children = windows.patches.shape[1]
    size = math.ceil(num_children / programs_for_each(tiles))
    slices = math.ceil(num_children / size)
    pairs = math.prod(shape[:2])
    sums = windows.centre.new_empty(slices, 33 * pairs)
    launch(
        device.sum_votes,
        (tiles, slices),
        *_vote_inputs(windows, windows.centre),
        *assignments,
        added,
        precision,
        sums,
        SLICE=size,
        PRIOR=prior,
        **arguments,
    )
    mass, first, second = sums.sum(dim=0).split((pairs, 16 * pairs, 16 * pairs))
    return mass.view(shape[:2]), first.view(shape), second.view(shape)


def _backward_votes(
    windows: Windows,
    assignments: Assignments,
    curvature: Tensor,
    *,
    added: Tensor | None = None,
    slope: Tensor | None = None,
    base: Tensor | None = None,
    prior: float = 0.0,
    gradients: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None),
) -> tuple[Tensor, Tensor]:
    """Return gradients of patches and weights for Σ weight (base + slope V + curvature V²).

    Args:
        windows: The votes.
        assignments: Their weights are R + prior, times the presence.
        curvature: (N, P, 4, 4).
        added: (N, I, P), added to the weights.
        slope: (N, P, 4, 4), or None for zeros.
        base: (N, P), given together with a slope.
        prior: Added to R.
        gradients: Output tensors for those of log_weights, log_totals and presences, given together
            with a slope.
    """
    num_children = windows.patches.shape[1]
    tiles, arguments = _tiles(windows)
    size = math.gcd(num_children, 2)  # two children share the loads of the parents
    slices = num_children // size
    groups = min(tiles, programs_for_each(slices))
    patches, weights, offsets, centre = _vote_inputs(windows, windows.centre)
    dpatches, dweights = torch.empty_like(patches), weights.new_empty(groups, *weights.shape)
    launch(
        device.gradients,
        (groups, slices),
        patches,
        weights,
        offsets,
        centre,
        *assignments,
        added,
        curvature,
        slope,
        base,
        dpatches,
        dweights,
        *gradients,
        SLICE=size,
        PRIOR=prior,
        **arguments,
    )
    return dpatches, dweights.sum(dim=0).transpose(1, 2)


def _vote_inputs(windows: Windows, centre: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return the inputs of a kernel's votes; the lines of a child's matrices are adjacent."""
    return windows.patches, windows.weights.transpose(1, 2).contiguous(), windows.offsets, centre


def _tiles(windows: Windows) -> tuple[int, dict[str, Any]]:
    """Return the number of tiles, and the arguments of every kernel.

    A thread has one vote: the tensors that a tile keeps between children fill about 100 registers.
    """
    num_positions, num_children = windows.patches.shape[:2]
    types = windows.weights.shape[1]
    block_p = power_of_two(types)
    block_n = max(1, THREADS // block_p)
    arguments = {
        "num_positions": num_positions,
        "num_children": num_children,
        "P": types,
        "BLOCK_N": block_n,
        "BLOCK_P": block_p,
    }
    return math.ceil(num_positions / block_n), arguments
