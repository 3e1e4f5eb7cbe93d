"""EM routing's passes over the votes as matrix products, a slice of the positions at a time.

Only the votes of one slice are in memory, and each pass recomputes them: (I, n, 4, 4, P). Parents
are innermost, so that numbers with the same weight for all sixteen elements of a vote form rows.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor

from capsbench.capsules.kernels.compiling import Transform, uncompiled
from capsbench.capsules.kernels.em import PRIOR_SHARE, Assignments, Windows

# Elements of the votes of a slice: few enough for a CPU's cache, and enough to keep a GPU busy.
SLICE, GPU_SLICE = 2**19, 2**26


class EMEagerPasses:
    """The passes, slice by slice; see `capsbench.capsules.kernels.em.EMKernels`.

    Args:
        transform: Returns a faster equivalent of the function of one slice.
    """

    def __init__(self, transform: Transform = uncompiled) -> None:
        self._moments = transform(_moments)
        self._moments_gradient = transform(_moments_gradient)
        self._log_densities = transform(_log_densities)
        self._log_densities_gradient = transform(_log_densities_gradient)

    def moments(self, windows: Windows, assignments: Assignments) -> tuple[Tensor, Tensor, Tensor]:
        """Return mass (N, P), and mean and mean square (N, P, 4, 4) around the centre."""
        weights, offsets = _columns(windows)
        parts = [
            self._moments(patches, weights, offsets, centre, *rest)
            for patches, centre, *rest in _slices(windows, *assignments)
        ]
        mass, mean, square = (torch.cat(part) for part in zip(*parts, strict=True))
        return mass, _poses(mean), _poses(square)

    def moments_gradient(
        self,
        windows: Windows,
        assignments: Assignments,
        moments: tuple[Tensor, Tensor, Tensor],
        gradients: tuple[Tensor, Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return gradients of patches, weights, log_weights, log_totals and presences."""
        weights, offsets = _columns(windows)
        (mass, *others), (mass_gradient, *more) = moments, gradients
        dweights, parts = torch.zeros_like(weights), []
        for patches, centre, *rest in _slices(
            windows, *assignments, mass, mass_gradient, *map(_rows, (*others, *more))
        ):
            part, rest_gradients = self._moments_gradient(patches, weights, offsets, centre, *rest)
            dweights += part
            parts.append(rest_gradients)
        dpatches, dlog_weights, dlog_totals, dpresences = (
            torch.cat(part) for part in zip(*parts, strict=True)
        )
        return dpatches, _matrices(dweights), dlog_weights, dlog_totals, dpresences

    def log_densities(
        self, windows: Windows, mean: Tensor, precision: Tensor, base: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Return log weights of the parents per vote (N, I, P), and log sums (N, I)."""
        weights, offsets = _columns(windows)
        parts = [
            self._log_densities(patches, weights, offsets, centre, *rest)
            for patches, centre, *rest in _slices(windows, _rows(mean), _rows(precision), base)
        ]
        log_weights, log_sums = (torch.cat(part) for part in zip(*parts, strict=True))
        return log_weights, log_sums

    def log_densities_gradient(
        self,
        windows: Windows,
        mean: Tensor,
        precision: Tensor,
        outputs: tuple[Tensor, Tensor],
        gradients: tuple[Tensor, Tensor],
    ) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
        """Return gradients of patches, weights, mean, log precision and base."""
        weights, offsets = _columns(windows)
        dweights, parts = torch.zeros_like(weights), []
        for patches, centre, *rest in _slices(
            windows, _rows(mean), _rows(precision), *outputs, *gradients
        ):
            part, rest_gradients = self._log_densities_gradient(
                patches, weights, offsets, centre, *rest
            )
            dweights += part
            parts.append(rest_gradients)
        dpatches, dmean, dlog_precision, dbase = (
            torch.cat(part) for part in zip(*parts, strict=True)
        )
        return dpatches, _matrices(dweights), _poses(dmean), _poses(dlog_precision), dbase


def _slices(windows: Windows, *more: Tensor | None) -> Iterator[tuple[Any, ...]]:
    """Split patches, centre (n, 4, 4, P) and more tensors into slices of nearly equal size."""
    num_children, num_parents = windows.weights.shape[:2]
    limit = SLICE if windows.patches.device.type == "cpu" else GPU_SLICE
    num_positions = max(1, len(windows.patches))
    count = math.ceil(num_positions * 16 * num_children * num_parents / limit)
    size = math.ceil(num_positions / min(count, num_positions))
    tensors = (windows.patches, _rows(windows.centre), *more)
    for begin in range(0, num_positions, size):
        yield tuple(None if x is None else x[begin : begin + size] for x in tensors)


def _columns(windows: Windows) -> tuple[Tensor, Tensor]:
    """Rearrange weights to (I, 4, 4 * P), and offsets to (I, 1, 4, 4, 1)."""
    weights = windows.weights.permute(0, 2, 3, 1).flatten(start_dim=2).contiguous()
    return weights, windows.offsets[:, None, :, :, None]


def _matrices(columns: Tensor) -> Tensor:
    """Rearrange weights (I, 4, 4 * P) to (I, P, 4, 4)."""
    return columns.unflatten(2, (4, -1)).permute(0, 3, 1, 2)


def _rows(poses: Tensor) -> Tensor:
    """Rearrange (N, P, 4, 4) to (N, 4, 4, P)."""
    return poses.movedim(1, -1).contiguous()


def _poses(rows: Tensor) -> Tensor:
    """Rearrange (N, 4, 4, P) to (N, P, 4, 4)."""
    return rows.movedim(-1, 1)


# Shapes of one slice of n positions: patches (n, I, 4, 4), weights (I, 4, 4 * P), offsets
# (I, 1, 4, 4, 1), centre (n, 4, 4, P); votes, differences and their gradients (I, n, 4, 4, P);
# values per vote (n, I, P), per child (n, I), per parent (n, P) or (n, 4, 4, P).


def _votes(patches: Tensor, weights: Tensor, offsets: Tensor, centre: Tensor) -> Tensor:
    rows = patches.transpose(0, 1).flatten(1, 2)  # (I, n * 4, 4)
    votes = (rows @ weights).unflatten(1, (-1, 4)).unflatten(-1, (4, -1))
    return votes + (offsets - centre)


def _backward_votes(patches: Tensor, weights: Tensor, gradient: Tensor) -> tuple[Tensor, Tensor]:
    """Return gradients of patches and weights from those of the votes."""
    rows = patches.transpose(0, 1).flatten(1, 2)
    columns = gradient.flatten(3, 4).flatten(1, 2)  # (I, n * 4, 4 * P)
    dpatches = (columns @ weights.mT).unflatten(1, (-1, 4)).transpose(0, 1)
    return dpatches, rows.mT @ columns


def _per_vote(numbers: Tensor) -> Tensor:
    """Rearrange (n, I, P) to broadcast with votes: (I, n, 1, 1, P)."""
    return numbers.transpose(0, 1)[:, :, None, None]


def _moments(
    patches: Tensor,
    weights: Tensor,
    offsets: Tensor,
    centre: Tensor,
    log_weights: Tensor | None,
    log_totals: Tensor,
    presences: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    votes = _votes(patches, weights, offsets, centre)
    shares = Assignments(log_weights, log_totals, presences).shares(centre.shape[-1])
    assigned = (shares + PRIOR_SHARE) * presences[..., None]
    mass = assigned.sum(dim=1)
    weighted = votes * _per_vote(assigned / mass[:, None])
    return mass, weighted.sum(dim=0), (weighted * votes).sum(dim=0)


def _moments_gradient(
    patches: Tensor,
    weights: Tensor,
    offsets: Tensor,
    centre: Tensor,
    log_weights: Tensor | None,
    log_totals: Tensor,
    presences: Tensor,
    mass: Tensor,
    dmass: Tensor,
    mean: Tensor,
    square: Tensor,
    dmean: Tensor,
    dsquare: Tensor,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    votes = _votes(patches, weights, offsets, centre)
    shares = Assignments(log_weights, log_totals, presences).shares(centre.shape[-1])
    weights_of_votes = (shares + PRIOR_SHARE) * presences[..., None]
    slope = dmean / mass[:, None, None]
    curvature = dsquare / mass[:, None, None]
    through_mass = (slope * mean + curvature * square).sum(dim=(1, 2))
    curved = curvature * votes
    along = ((curved + slope) * votes).sum(dim=(2, 3))  # (I, n, P)
    dassigned = along.transpose(0, 1) + (dmass - through_mass)[:, None]
    dlog_weights = dassigned * (shares * presences[..., None])
    dvotes = (2 * curved + slope) * _per_vote(weights_of_votes)
    dpatches, dweights = _backward_votes(patches, weights, dvotes)
    dpresences = (dassigned * (shares + PRIOR_SHARE)).sum(dim=-1)
    return dweights, (dpatches, dlog_weights, -dlog_weights.sum(dim=-1), dpresences)


def _log_densities(
    patches: Tensor,
    weights: Tensor,
    offsets: Tensor,
    centre: Tensor,
    mean: Tensor,
    precision: Tensor,
    base: Tensor,
) -> tuple[Tensor, Tensor]:
    differences = _votes(patches, weights, offsets, centre + mean)
    distances = (differences * precision * differences).sum(dim=(2, 3))
    log_weights = base[:, None] - 0.5 * distances.transpose(0, 1)
    return log_weights, log_weights.logsumexp(dim=-1)


def _log_densities_gradient(
    patches: Tensor,
    weights: Tensor,
    offsets: Tensor,
    centre: Tensor,
    mean: Tensor,
    precision: Tensor,
    log_weights: Tensor,
    log_sums: Tensor,
    dlog_weights: Tensor,
    dlog_sums: Tensor,
) -> tuple[Tensor, tuple[Tensor, Tensor, Tensor, Tensor]]:
    differences = _votes(patches, weights, offsets, centre + mean)
    responsible = (log_weights - log_sums[..., None]).exp()
    slopes = dlog_weights + dlog_sums[..., None] * responsible  # (n, I, P)
    scaled = _per_vote(slopes) * differences
    dvotes = -precision * scaled
    dlog_precision = 0.5 * (dvotes * differences).sum(dim=0)
    dpatches, dweights = _backward_votes(patches, weights, dvotes)
    return dweights, (dpatches, -dvotes.sum(dim=0), dlog_precision, slopes.sum(dim=1))
