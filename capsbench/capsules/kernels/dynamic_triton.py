"""Dynamic routing's passes over the votes in Triton, for GPUs; votes live in registers only.

A program owns a tile of samples and walks over a slice of the children. Of each child it makes the
votes for all parents, one tile (samples, pose) per parent, so that the softmax over the parents is
arithmetic between tiles. What is summed over the children, or over the samples, is summed by each
program for itself, and then over the programs, in a fixed order: there are no atomics, and the bits
of a result depend on nothing but the input.

From device memory a launch reads children and weights once: the parents of a tile stay in the
first-level cache, and the weights, which every tile reads, in the second-level one. Beside its
results it writes partial sums, which are read once:

| function | results of a launch |
| --- | --- |
| `weighted_sum` | couplings (B, I, J), if wanted and not even; (slices, B, J, E) |
| `agreement_gradient` | (slices, B, J, E) |
| `vote_gradients` | the children's gradient (B, I, D); (groups of tiles, I, J, D, E) |

See `capsbench.capsules.kernels.dynamic.DynamicKernels` for what the functions compute.
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

GROUPS = 4  # of tiles, each of which has a partial gradient of the weights
NUMBERS = 40  # of the votes of one child that a thread holds, with sums of as many, in registers


def weighted_sum(
    children: Tensor, weights: Tensor, agreed: Tensor | None, coupled: bool = True
) -> tuple[Tensor, Tensor | None]:
    """Sums of votes (B, J, E), and couplings (B, I, J) if they are wanted."""
    batch, (num_children, num_parents, _, parent_dim) = len(children), weights.shape
    tiling = _Tiling.of(children, weights)
    sums = children.new_empty(tiling.slices, batch, num_parents, parent_dim)
    couplings = None
    if coupled and agreed is not None:
        couplings = children.new_empty(batch, num_children, num_parents)
    launch(
        device.weighted_sum,
        tiling.grid,
        children,
        weights,
        agreed,
        sums,
        couplings,
        **tiling.arguments,
    )
    if agreed is None:
        even = children.new_full((), 1 / num_parents)
        return sums.sum(dim=0) * even, even.expand(batch, num_children, num_parents)
    return sums.sum(dim=0), couplings


def agreement_gradient(
    children: Tensor,
    weights: Tensor,
    agreed: Tensor,
    sums_gradient: Tensor,
    couplings_gradient: Tensor | None,
) -> Tensor:
    """Gradient of what was agreed: (B, J, E)."""
    tiling = _Tiling.of(children, weights)
    result = agreed.new_empty(tiling.slices, *agreed.shape)
    launch(
        device.agreement_gradient,
        tiling.grid,
        children,
        weights,
        agreed,
        sums_gradient,
        couplings_gradient,
        result,
        **tiling.arguments,
    )
    return result.sum(dim=0)


def vote_gradients(
    children: Tensor,
    weights: Tensor,
    agreed: Tensor,
    sums_gradients: Tensor,
    couplings_gradient: Tensor | None,
) -> tuple[Tensor, Tensor]:
    """Gradients of children (B, I, D) and weights (I, J, D, E)."""
    tiling = _Tiling.of(children, weights, most=GROUPS)
    children_gradient = torch.empty_like(children)
    weights_gradient = weights.new_empty(tiling.groups, *weights.shape)
    launch(
        device.vote_gradients,
        tiling.grid,
        children,
        weights,
        agreed,
        sums_gradients,
        couplings_gradient,
        children_gradient,
        weights_gradient,
        T=len(agreed),
        BLOCK_D=power_of_two(children.shape[2]),
        **tiling.arguments,
    )
    return children_gradient, weights_gradient.sum(dim=0)


class _Tiling(NamedTuple):
    """How the work is shared among programs.

    Attributes:
        groups: Of tiles of samples.
        slices: Of children.
        arguments: What every kernel is told.
    """

    groups: int
    slices: int
    arguments: dict[str, Any]

    @property
    def grid(self) -> tuple[int, int]:
        """Of programs."""
        return self.groups, self.slices

    @classmethod
    def of(cls, children: Tensor, weights: Tensor, most: int | None = None) -> _Tiling:
        """For children (B, I, D) and weights (I, J, D, E), in so many groups at most.

        The more votes a thread holds, the more often it uses each number that it loads, until its
        registers are full. A tile has 16 samples at least, the shortest sum of a product by tl.dot.
        """
        batch, (num_children, num_parents, dim, parent_dim) = len(children), weights.shape
        block_e = power_of_two(parent_dim)
        fitting = NUMBERS * THREADS // (num_parents * block_e)
        block_b = min(128, max(16, power_of_two(fitting + 1) // 2))
        tiles = math.ceil(batch / block_b)
        groups = tiles if most is None else min(tiles, most)
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
