"""How much must be computed and moved at least: the work that rates are taken of.

Operations are those of the textbook's matrix products: every vote is made once in a pass forward,
and its gradient taken once in a pass backward. What a backend computes again, so that it need not
store it, is no work, as in the 'model FLOPs' of large language models: that lowers its rate.
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
    """FLOPs of dynamic routing.

    With B, I, J, D, E for the arguments and T iterations, in multiply-adds: the votes û take BIJDE,
    each of T weighted sums and T - 1 agreements BIJE. Backward, votes give the gradients of
    children and weights, BIJDE each; a sum gives those of votes and couplings, BIJE each, but the
    first sum no gradient of its couplings, which are constant; an agreement gives those of votes
    and parents, BIJE each.
    """
    product = batch * children * parents * child_dim * parent_dim
    weighted = batch * children * parents * parent_dim
    forward = product + (2 * iterations - 1) * weighted
    back = 2 * product + (2 * iterations - 1 + 2 * (iterations - 1)) * weighted
    return 2 * (forward + back if backward else forward)


def dynamic_routing_bytes(
    *, batch: int, children: int, parents: int, child_dim: int, parent_dim: int, backward: bool
) -> int:
    """Bytes of dynamic routing in float32; no vote, coupling or agreement need leave the processor.

    Children and weights are read, parents written. Backward, children, weights and the gradient of
    the parents are read, the gradients of children and weights written.
    """
    below = batch * children * child_dim + children * parents * child_dim * parent_dim
    above = batch * parents * parent_dim
    return FP32_BYTES * (3 * below + 2 * above if backward else below + above)


def em_routing_flops(*, votes: int, iterations: int, backward: bool) -> int:
    """FLOPs of EM routing.

    A vote, the product of two 4 x 4 matrices, takes 64 multiply-adds. Each of T M-steps weighs its
    16 elements and their squares: 32. Backward, every product has two factors whose gradients take
    as much each: twice all that. What an E-step measures, distances, is no product of matrices.

    Args:
        votes: Pairs of a child and a parent that sees it, over the whole batch.
        iterations: T.
        backward: Whether gradients are taken.
    """
    forward = 2 * votes * (64 + 32 * iterations)
    return 3 * forward if backward else forward


def em_routing_bytes(*, children: int, weights: int, parents: int, backward: bool) -> int:
    """Bytes of EM routing in float32: poses, presences and weights, as for dynamic routing.

    Args:
        children: Capsules below, over the whole batch.
        weights: 4 x 4 matrices.
        parents: Capsules of the layer, over the whole batch.
        backward: Whether gradients are taken.
    """
    below, above = 17 * children + 16 * weights, 17 * parents
    return FP32_BYTES * (3 * below + 2 * above if backward else below + above)


def counted_flops(call: Callable[[], object]) -> int:
    """FLOPs of the convolutions and matrix products of a call, as torch counts them."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()
