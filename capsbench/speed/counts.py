"""Minimum operations and bytes of routing, from which rates are computed.

Operations are those of the textbook's matrix products: every vote is computed once in the forward
pass, and its gradient once in the backward pass. Recomputation instead of storage does not count,
as in the 'model FLOPs' of large language models, so that it lowers the rate of a backend.
"""

from __future__ import annotations

from collections.abc import Callable

from torch.utils.flop_counter import FlopCounterMode

FP32_BYTES = 4


def dynamic_routing_flops(
    *,
    batch: int,
    children: int,
    parents: int,
    child_dim: int,
    parent_dim: int,
    iterations: int,
    backward: bool,
) -> int:
    """Return the FLOPs of dynamic routing.

    With B, I, J, D, E for the arguments and T iterations, in multiply-adds: the votes û take BIJDE,
    each of T weighted sums and T - 1 agreements takes BIJE. Backward, the votes give the gradients
    of children and weights, BIJDE each. A sum gives those of votes and couplings, BIJE each, except
    for the constant couplings of the first sum. An agreement gives those of votes and parents, BIJE
    each.
    """
    product = batch * children * parents * child_dim * parent_dim
    weighted = batch * children * parents * parent_dim
    forward = product + (2 * iterations - 1) * weighted
    gradients = 2 * product + (2 * iterations - 1 + 2 * (iterations - 1)) * weighted
    return 2 * (forward + gradients if backward else forward)


def dynamic_routing_bytes(
    *, batch: int, children: int, parents: int, child_dim: int, parent_dim: int, backward: bool
) -> int:
    """Return the bytes of dynamic routing in float32, without votes, couplings and agreements.

    Forward, children and weights are read and parents written. Backward, children, weights and the
    gradient of the parents are read, and the gradients of children and weights written.
    """
    inputs = batch * children * child_dim + children * parents * child_dim * parent_dim
    outputs = batch * parents * parent_dim
    return FP32_BYTES * (3 * inputs + 2 * outputs if backward else inputs + outputs)


def em_routing_flops(*, votes: int, iterations: int, backward: bool) -> int:
    """Return the FLOPs of EM routing.

    A vote, the product of two 4 x 4 matrices, takes 64 multiply-adds. Each of T M-steps multiplies
    its 16 elements and their squares by weights: 32. Backward, the gradient of each of the two
    factors of a product takes as much again. The distances of an E-step are not matrix products and
    do not count.

    Args:
        votes: Pairs of a child and a parent that receives its vote, over the whole batch.
        iterations: T.
        backward: Include the backward pass.
    """
    forward = 2 * votes * (64 + 32 * iterations)
    return 3 * forward if backward else forward


def em_routing_bytes(*, children: int, weights: int, parents: int, backward: bool) -> int:
    """Return the bytes of EM routing in float32: poses, presences and weights.

    Inputs and outputs are read and written as in `dynamic_routing_bytes`.

    Args:
        children: Number of children, over the whole batch.
        weights: Number of 4 x 4 matrices.
        parents: Number of parents, over the whole batch.
        backward: Include the backward pass.
    """
    inputs, outputs = 17 * children + 16 * weights, 17 * parents
    return FP32_BYTES * (3 * inputs + 2 * outputs if backward else inputs + outputs)


def count_flops(call: Callable[[], object]) -> int:
    """Return the FLOPs of the convolutions and matrix products of a call, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
