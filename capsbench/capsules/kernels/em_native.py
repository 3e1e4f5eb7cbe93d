"""EM routing's passes over the votes in C (``em.c``), for CPUs."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.capsules.kernels.em import PRIOR_SHARE, Assignments, Windows
from capsbench.capsules.kernels.native import call, library, simd_width

PIECES = 32  # of the positions: up to 32 cores compute the weights' gradient


def moments(windows: Windows, assignments: Assignments) -> tuple[Tensor, Tensor, Tensor]:
    """Return mass (N, P), and mean and mean square (N, P, 4, 4) around the centre."""
    centre = _rows(windows.centre)
    mass = centre.new_empty(windows.centre.shape[:2])
    mean, square = torch.empty_like(centre), torch.empty_like(centre)
    call(
        _library(windows).moments,
        len(centre),
        PRIOR_SHARE,
        *_children(windows),
        centre,
        *assignments,
        mass,
        mean,
        square,
    )
    return mass, _poses(mean, windows), _poses(square, windows)


def moments_gradient(
    windows: Windows,
    assignments: Assignments,
    moments: tuple[Tensor, Tensor, Tensor],
    gradients: tuple[Tensor, Tensor, Tensor],
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return gradients of patches, weights, log_weights, log_totals and presences."""
    (mass, mean, square), (dmass, dmean, dsquare) = moments, gradients
    patches, weights, _ = children = _children(windows)
    presences = assignments.presences
    dpatches, dweights = torch.empty_like(patches), weights.new_empty(PIECES, *weights.shape)
    dlog_weights = presences.new_empty(*presences.shape, windows.weights.shape[1])
    dlog_totals, dpresences = torch.empty_like(presences), torch.empty_like(presences)
    call(
        _library(windows).moments_gradient,
        len(patches),
        PIECES,
        PRIOR_SHARE,
        *children,
        _rows(windows.centre),
        *assignments,
        mass,
        _rows(mean),
        _rows(square),
        dmass,
        _rows(dmean),
        _rows(dsquare),
        dpatches,
        dweights,
        dlog_weights,
        dlog_totals,
        dpresences,
    )
    total = _poses(dweights.sum(dim=0), windows)
    return dpatches, total, dlog_weights, dlog_totals, dpresences


def log_densities(
    windows: Windows, mean: Tensor, precision: Tensor, base: Tensor
) -> tuple[Tensor, Tensor]:
    """Return log weights of the parents per vote, and log sums."""
    num_positions, num_children = windows.patches.shape[:2]
    log_weights = base.new_empty(num_positions, num_children, base.shape[1])
    log_sums = base.new_empty(num_positions, num_children)
    call(
        _library(windows).log_densities,
        num_positions,
        *_children(windows),
        _rows(windows.centre + mean),
        _rows(precision),
        base.contiguous(),
        log_weights,
        log_sums,
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
    patches, weights, _ = children = _children(windows)
    dpatches, dweights = torch.empty_like(patches), weights.new_empty(PIECES, *weights.shape)
    around = _rows(windows.centre + mean)
    dmean, dlog_precision = torch.empty_like(around), torch.empty_like(around)
    dbase = around.new_empty(windows.centre.shape[:2])
    call(
        _library(windows).log_densities_gradient,
        len(patches),
        PIECES,
        *children,
        around,
        _rows(precision),
        *outputs,
        *gradients,
        dpatches,
        dweights,
        dmean,
        dlog_precision,
        dbase,
    )
    total = _poses(dweights.sum(dim=0), windows)
    return dpatches, total, _poses(dmean, windows), _poses(dlog_precision, windows), dbase


def _library(windows: Windows) -> ctypes.CDLL:
    num_children, num_parents = windows.weights.shape[:2]
    return library("em.c", windows.weights.dtype, I=num_children, P=num_parents)


def _children(windows: Windows) -> tuple[Tensor, Tensor, Tensor]:
    return windows.patches, _rows(windows.weights), windows.offsets


def _rows(poses: Tensor) -> Tensor:
    """Rearrange (M, P, 4, 4) to (M, 4, 4, P), with P padded by zeros to whole SIMD vectors."""
    rows = poses.movedim(1, -1)
    return F.pad(rows, (0, -rows.shape[-1] % simd_width(rows.dtype))).contiguous()


def _poses(rows: Tensor, windows: Windows) -> Tensor:
    """Rearrange back to (M, P, 4, 4)."""
    return rows[..., : windows.weights.shape[1]].movedim(-1, 1)
