"""EM routing's passes over the votes in Triton, for GPUs; votes live in registers only.

Of each child a program makes the votes for all parent types, a tile (row, place, type, column). A
thread has all sixteen numbers of a vote, and the types lie beside each other, so that sums over the
types stay within a warp. What is summed over children, or over places, is summed by each program
for itself, and then over the programs, in a fixed order: there are no atomics, and the bits of a
result depend on nothing but the input.

From device memory a launch reads once what has a number for each child or vote; the weights, and
what the parents have, stay in the caches. It writes results and partial sums, which are read once:

| kernel | reads | writes |
| --- | --- | --- |
| `sum_votes` | patches, assignments | (slices of children, 33, N, P) |
| `log_densities` | patches | (N, I, P), (N, I) |
| `gradients` | patches, assignments | their gradients; (groups of tiles, I, 4, P, 4) |

See `capsbench.capsules.kernels.em.EMKernels` for what the functions compute.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from capsbench.capsules.kernels import em_device as device
from capsbench.capsules.kernels.em import Assignments, Windows
from capsbench.capsules.kernels.triton_launch import (
    THREADS,
    launch,
    power_of_two,
    programs_for_each,
)
from capsbench.capsules.mixture import nonzero


def moments(windows: Windows, assignments: Assignments) -> tuple[Tensor, Tensor, Tensor]:
    """Mass (N, P), and mean and mean square (N, P, 4, 4) around the centre."""
    mass, first, second = _sums(windows, assignments)
    divisor = nonzero(mass)[..., None, None]
    return mass, first / divisor, second / divisor


def moments_gradient(
    windows: Windows,
    assignments: Assignments,
    moments: tuple[Tensor, Tensor, Tensor],
    gradients: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of patches, weights, log_weights, log_totals and presences."""
    (mass, mean, square), (dmass, dmean, dsquare) = moments, gradients
    divisor = nonzero(mass)
    slope, curvature = (x / divisor[..., None, None] for x in (dmean, dsquare))
    # Where the mass is what is divided by, it moves mean and square, too.
    moved = (slope * mean + curvature * square).sum(dim=(2, 3)) * (mass >= divisor)
    presences = assignments.presences
    dlog_weights = presences.new_empty(*presences.shape, mass.shape[1])
    dlog_totals, dpresences = torch.empty_like(presences), torch.empty_like(presences)
    dpatches, dweights = _pull_back(
        windows,
        assignments,
        curvature,
        slope=slope,
        base=dmass - moved,
        gradients=(dlog_weights, dlog_totals, dpresences),
    )
    return dpatches, dweights, dlog_weights, dlog_totals, dpresences


def log_densities(
    windows: Windows, mean: Tensor, precision: Tensor, base: Tensor
) -> tuple[Tensor, Tensor]:
    """Logs of parents' weights for each vote (N, I, P), and of their sums (N, I)."""
    num_places, num_children = windows.patches.shape[:2]
    log_weights = base.new_empty(num_places, num_children, base.shape[1])
    log_sums = base.new_empty(num_places, num_children)
    tiles, arguments = _tiles(windows)
    size = math.ceil(num_children / programs_for_each(tiles, waves=4))
    launch(
        device.log_densities,
        (tiles, math.ceil(num_children / size)),
        *_around(windows, windows.centre + mean),
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
    found: tuple[Tensor, Tensor],
    gradients: tuple[Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Gradients of patches, weights, mean, log precision and base."""
    (log_weights, log_sums), (dlog_weights, dlog_sums) = found, gradients
    windows = windows._replace(centre=windows.centre + mean)
    # The gradient of a density: what it is assigned of that of its sum, and its own.
    slopes = Assignments(log_weights, log_sums, dlog_sums)
    dbase, dmean, moment = _sums(windows, slopes, dlog_weights, precision)
    dpatches, dweights = _pull_back(windows, slopes, -0.5 * precision, added=dlog_weights)
    return dpatches, dweights, dmean, -0.5 * moment, dbase


def _sums(
    windows: Windows,
    assignments: Assignments,
    added: Tensor | None = None,
    precision: Tensor | None = None,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums over the children of what is assigned, (N, P), and of votes V and V² times that.

    Args:
        windows: The votes.
        assignments: Their weights are R times the presence.
        added: (N, I, P), added to the weights.
        precision: (N, P, 4, 4), by which V and V² are multiplied.
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
        *_around(windows, windows.centre),
        *assignments,
        added,
        precision,
        sums,
        SLICE=size,
        **arguments,
    )
    mass, first, second = sums.sum(dim=0).split((pairs, 16 * pairs, 16 * pairs))
    return mass.view(shape[:2]), first.view(shape), second.view(shape)


def _pull_back(
    windows: Windows,
    assignments: Assignments,
    curvature: Tensor,
    *,
    added: Tensor | None = None,
    slope: Tensor | None = None,
    base: Tensor | None = None,
    gradients: tuple[Tensor | None, Tensor | None, Tensor | None] = (None, None, None),
) -> tuple[Tensor, Tensor]:
    """Gradients of patches and weights for a sum of weight times base + slope V + curvature V².

    Args:
        windows: The votes.
        assignments: Their weights are R times the presence.
        curvature: (N, P, 4, 4).
        added: (N, I, P), added to the weights.
        slope: (N, P, 4, 4), or None for zeros.
        base: (N, P), beside a slope.
        gradients: Room for those of log_weights, log_totals and presences, beside a slope.
    """
    num_children = windows.patches.shape[1]
    tiles, arguments = _tiles(windows)
    size = math.gcd(num_children, 2)  # two children use what is loaded for the parents
    slices = num_children // size
    groups = min(tiles, programs_for_each(slices))
    patches, weights, offsets, centre = _around(windows, windows.centre)
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
        **arguments,
    )
    return dpatches, dweights.sum(dim=0).transpose(1, 2)


def _around(windows: Windows, centre: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """What a kernel makes votes of; the lines of a child's matrices lie beside each other."""
    return windows.patches, windows.weights.transpose(1, 2).contiguous(), windows.offsets, centre


def _tiles(windows: Windows) -> tuple[int, dict[str, Any]]:
    """How many tiles there are, and what every kernel is told.

    A thread has one vote: of a tile, what is kept between children fills some hundred registers.
    """
    num_places, num_children = windows.patches.shape[:2]
    types = windows.weights.shape[1]
    block_p = power_of_two(types)
    block_n = max(1, THREADS // block_p)
    arguments = {
        "num_places": num_places,
        "num_children": num_children,
        "P": types,
        "BLOCK_N": block_n,
        "BLOCK_P": block_p,
    }
    return math.ceil(num_places / block_n), arguments
