"""Dynamic routing's passes over the votes in C (``dynamic.c``), for CPUs."""

from __future__ import annotations

import ctypes

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.capsules.kernels.native import call, library, simd_width

SLICES = 8  # of the children: enough for sixteen or more cores at a batch of 16


def weighted_sum(
    children: Tensor, weights: Tensor, parent_sum: Tensor | None, coupled: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Return sums of votes (B, J, E), and couplings (B, I, J) if ``coupled``."""
    count, (num_children, num_parents, _, parent_dim) = len(children), weights.shape
    children = _whole_tiles(children)
    batch = len(children)
    shape = (batch, num_parents, parent_dim)
    parent_sum = children.new_zeros(shape) if parent_sum is None else _whole_tiles(parent_sum)
    sums = children.new_empty(SLICES, *shape)
    couplings = children.new_empty(batch, num_children, num_parents) if coupled else None
    weights = weights.contiguous()
    kernels = _library(weights)
    call(kernels.weighted_sum, batch, SLICES, children, weights, parent_sum, sums, couplings)
    return sums.sum(dim=0)[:count], couplings if couplings is None else couplings[:count]


def agreement_gradient(
    children: Tensor,
    weights: Tensor,
    parent_sum: Tensor,
    sums_gradient: Tensor,
    couplings_gradient: Tensor | None,
) -> Tensor:
    """Return the gradient of ``parent_sum``: (B, J, E)."""
    count = len(children)
    children, parent_sum, sums_gradient = map(_whole_tiles, (children, parent_sum, sums_gradient))
    if couplings_gradient is not None:
        couplings_gradient = _whole_tiles(couplings_gradient)
    weights = weights.contiguous()
    gradient = parent_sum.new_empty(SLICES, *parent_sum.shape)
    call(
        _library(weights).agreement_gradient,
        len(children),
        SLICES,
        children,
        weights,
        parent_sum,
        sums_gradient,
        couplings_gradient,
        gradient,
    )
    return gradient.sum(dim=0)[:count]


def vote_gradients(
    children: Tensor,
    weights: Tensor,
    parent_sum: Tensor,
    sums_gradients: Tensor,
    couplings_gradient: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return gradients of children (B, I, D) and weights (I, J, D, E)."""
    count = len(children)
    children, weights = _whole_tiles(children), weights.contiguous()
    if couplings_gradient is not None:
        couplings_gradient = _whole_tiles(couplings_gradient)
    children_gradient, weights_gradient = torch.empty_like(children), torch.empty_like(weights)
    call(
        _library(weights).vote_gradients,
        len(children),
        len(parent_sum),
        children,
        weights,
        _tiles(parent_sum),
        _tiles(sums_gradients),
        couplings_gradient,
        children_gradient,
        weights_gradient,
    )
    return children_gradient[:count], weights_gradient


def _library(weights: Tensor) -> ctypes.CDLL:
    return library("dynamic.c", weights.dtype, **dict(zip("IJDE", weights.shape, strict=True)))


def _whole_tiles(images: Tensor) -> Tensor:
    """Pad images (B, ...) with zeros to whole tiles."""
    missing = -len(images) % simd_width(images.dtype)
    return F.pad(images, (0, 0) * (images.dim() - 1) + (0, missing)).contiguous()


def _tiles(steps: Tensor) -> Tensor:
    """Rearrange (T, B, J, E) to (tiles, T, J, E, SIMD width)."""
    padded = _whole_tiles(steps.transpose(0, 1))
    return padded.unflatten(0, (-1, simd_width(steps.dtype))).movedim(1, -1).contiguous()
