"""Dynamic routing's passes over the votes in Triton, for GPUs; votes are in registers only.

A program processes a tile of samples and loops over a slice of the children. It computes the votes
of each child for all parents, one tile (samples, pose) per parent, so that the softmax over the
parents is arithmetic between tiles. Sums over the children, or over the samples, are computed per
program and then over the programs, in a fixed order. There are no atomics, and results are
deterministic to the bit.

A launch reads children and weights from device memory once: the parents of a tile stay in the
first-level cache, and the weights, which every tile reads, in the second-level cache. Besides its
results it writes partial sums, which are read once:

| function | output of a launch |
| --- | --- |
| `weighted_sum` | couplings (B, I, J), if requested and not uniform; (slices, B, J, E) |
| `agreement_gradient` | (slices, B, J, E) |
| `vote_gradients` | the children's gradient (B, I, D); (groups of tiles, I, J, D, E) |

See `capsbench.capsules.kernels.dynamic.DynamicKernels` for the definition of each function.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from capsbench.capsules.kernels import dynamic_device as device
from capsbench.capsules.kernels.triton_launch import (
    THREADS,
    WARPS,
    launch,
    power_of_two,
    programs_for_each,
)

GROUPS = 4  # of tiles; each has a partial gradient of the weights
NUMBERS = 40  # vote elements of one child, and as many sums, per thread in registers


def weighted_sum(
    children: Tensor, weights: Tensor, parent_sum: Tensor | None, coupled: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Return sums of votes (B, J, E), and couplings (B, I, J) if ``coupled``."""
    batch, (num_children, num_parents, _, parent_dim) = len(children), weights.shape
    tiling = _Tiling.of(children, weights)
    sums = children.new_empty(tiling.slices, batch, num_parents, parent_dim)
    couplings = None
    if coupled and parent_sum is not None:
        couplings = children.new_empty(batch, num_children, num_parents)
    launch(
        device.weighted_sum,
        tiling.grid,
        children,
        weights,
        parent_sum,
        sums,
        couplings,
        **tiling.arguments,
    )
    if parent_sum is None:
        even = children.new_full((), 1 / num_parents)
        return sums.sum(dim=0) * even, even.expand(batch, num_children, num_parents)
    return sums.sum(dim=0), couplings


def agreement_gradient(
    children: Tensor,
    weights: Tensor,
    parent_sum: Tensor,
    sums_gradient: Tensor,
    couplings_gradient: Tensor | None,
) -> Tensor:
    """Return the gradient of ``parent_sum``: (B, J, E)."""
    tiling = _Tiling.of(children, weights)
    result = parent_sum.new_empty(tiling.slices, *parent_sum.shape)
    launch(
        device.agreement_gradient,
        tiling.grid,
        children,
        weights,
        parent_sum,
        sums_gradient,
        couplings_gradient,
        result,
        **tiling.arguments,
    )
    return result.sum(dim=0)


def vote_gradients(
    children: Tensor,
    weights: Tensor,
    parent_sum: Tensor,
    sums_gradients: Tensor,
    couplings_gradient: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Return gradients of children (B, I, D) and weights (I, J, D, E)."""
    tiling = _Tiling.of(children, weights, max_groups=GROUPS)
    children_gradient = torch.empty_like(children)
    weights_gradient = weights.new_empty(tiling.groups, *weights.shape)
    launch(
        device.vote_gradients,
        tiling.grid,
        children,
        weights,
        parent_sum,
        sums_gradients,
        couplings_gradient,
        children_gradient,
        weights_gradient,
        T=len(parent_sum),
        BLOCK_D=power_of_two(children.shape[2]),
        **tiling.arguments,
    )
    return children_gradient, weights_gradient.sum(dim=0)


class _Tiling(NamedTuple):
    """Distribution of the work among programs.

    Attributes:
        groups: Number of groups of sample tiles.
        slices: Number of slices of children.
        arguments: Arguments of every kernel.
    """

    groups: int
    slices: int
    arguments: dict[str, Any]

    @property
    def grid(self) -> tuple[int, int]:
        """Numbers of programs."""
        return self.groups, self.slices

    @classmethod
    def of(cls, children: Tensor, weights: Tensor, max_groups: int | None = None) -> _Tiling:
        """Return the tiling of children (B, I, D) and weights (I, J, D, E).

        The more votes a thread holds, the more often it uses each number that it loads, until its
        registers are full. A tile has at least 16 samples, the shortest sum of a product by tl.dot.

        Args:
            children: (B, I, D).
            weights: (I, J, D, E).
            max_groups: Maximum number of groups; unlimited if None.
        """
        batch, (num_children, num_parents, dim, parent_dim) = len(children), weights.shape
        block_e = power_of_two(parent_dim)
        fitting = NUMBERS * THREADS // (num_parents * block_e)
        block_b = min(128, max(16, power_of_two(fitting + 1) // 2))
        tiles = math.ceil(batch / block_b)
        groups = tiles if max_groups is None else min(tiles, max_groups)
        size = math.ceil(num_children / programs_for_each(groups))
        arguments = {
            "num_samples": batch,
            "num_children": num_children,
            "SLICE": size,
            "J": num_parents,
            "D": dim,
            "E": parent_dim,
            "BLOCK_B": block_b,
            "BLOCK_E": block_e,
            "num_warps": WARPS if fitting >= 16 else 2 * WARPS,
        }
        return cls(groups, math.ceil(num_children / size), arguments)
