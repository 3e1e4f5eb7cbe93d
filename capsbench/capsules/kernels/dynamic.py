"""Dynamic routing by kernels: passes that compute votes where they are used.

The algorithm and its gradient are implemented once, here, on tensors of the size of the parents.
Everything that depends on every vote is computed by the kernels of a backend.
"""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from capsbench.capsules.capsule import squash, squash_gradient
from capsbench.capsules.kernels.first_order import FirstOrder


class DynamicKernels(Protocol):
    """The passes over the votes û_ij = u_i W_ij of dynamic routing.

    Children are (B, I, D), weights (I, J, D, E), both float32 or both float64.
    """

    def weighted_sum(
        self, children: Tensor, weights: Tensor, parent_sum: Tensor | None, coupled: bool = True
    ) -> tuple[Tensor, Tensor | None]:
        """Return sums of the votes, weighted by couplings (article, eq. 8-9).

        Args:
            children: (B, I, D).
            weights: (I, J, D, E).
            parent_sum: (B, J, E), the sum of the parents of all previous iterations; the logits
                of the couplings are û_ij · parent_sum_j. None in the first iteration.
            coupled: Return the couplings, too.

        Returns:
            Sums (B, J, E), and couplings (B, I, J) or None.
        """

    def agreement_gradient(
        self,
        children: Tensor,
        weights: Tensor,
        parent_sum: Tensor,
        sums_gradient: Tensor,
        couplings_gradient: Tensor | None,
    ) -> Tensor:
        """Return the gradient (B, J, E) of ``parent_sum``, from those of sums and couplings."""

    def vote_gradients(
        self,
        children: Tensor,
        weights: Tensor,
        parent_sum: Tensor,
        sums_gradients: Tensor,
        couplings_gradient: Tensor | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the gradients of children and weights, summed over all iterations.

        Args:
            children: (B, I, D).
            weights: (I, J, D, E).
            parent_sum: (T, B, J, E), of each iteration; zero for the first.
            sums_gradients: (T, B, J, E).
            couplings_gradient: (B, I, J), of the last iteration's couplings.

        Returns:
            (B, I, D) and (I, J, D, E).
        """


def route(
    kernels: DynamicKernels,
    children: Tensor,
    weights: Tensor,
    bias: Tensor | None,
    iterations: int,
) -> tuple[Tensor, Tensor]:
    """Return parents (B, J, E) and couplings (B, I, J), see `capsules.dynamic_routing`."""
    parents, couplings, _ = _Routing.apply(
        children.contiguous(), weights.contiguous(), bias, iterations, kernels
    )
    return parents, couplings


class _Routing(FirstOrder):
    """Dynamic routing with the gradient of its equations, through all iterations."""

    @staticmethod
    def forward(
        children: Tensor,
        weights: Tensor,
        bias: Tensor | None,
        iterations: int,
        kernels: DynamicKernels,
    ) -> tuple[Tensor, Tensor, Tensor]:
        parent_sum, every_sum = None, []
        for iteration in range(iterations):
            last = iteration + 1 == iterations
            sums, couplings = kernels.weighted_sum(children, weights, parent_sum, last)
            every_sum.append(sums if bias is None else sums + bias)
            if not last:
                parents = squash(every_sum[-1])
                parent_sum = parents if parent_sum is None else parent_sum + parents
        assert couplings is not None
        return squash(every_sum[-1]), couplings, torch.stack(every_sum)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        children, weights, bias, _, ctx.kernels = inputs
        ctx.biased = bias is not None
        ctx.mark_non_differentiable(output[2])
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(children, weights, output[2])

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, parents_gradient: Tensor | None, couplings_gradient: Tensor | None, _: None
    ) -> tuple[Tensor | None, ...]:
        children, weights, every_sum = ctx.saved_tensors
        iterations = len(every_sum)
        parent_sum = torch.zeros_like(every_sum)  # as used in the logits of each iteration
        parent_sum[1:] = squash(every_sum[:-1]).cumsum(dim=0)
        gradients = torch.zeros_like(every_sum)
        if parents_gradient is not None:
            gradients[-1] = squash_gradient(every_sum[-1], parents_gradient)
        parent_sum_gradient = torch.zeros_like(every_sum[0])
        for iteration in reversed(range(1, iterations)):
            parent_sum_gradient = parent_sum_gradient + ctx.kernels.agreement_gradient(
                children,
                weights,
                parent_sum[iteration],
                gradients[iteration],
                couplings_gradient if iteration + 1 == iterations else None,
            )
            # The parents of an iteration enter the logits of all later iterations.
            gradients[iteration - 1] = squash_gradient(
                every_sum[iteration - 1], parent_sum_gradient
            )
        children_gradient, weights_gradient = ctx.kernels.vote_gradients(
            children, weights, parent_sum, gradients, couplings_gradient if iterations > 1 else None
        )
        bias_gradient = gradients.sum(dim=(0, 1)) if ctx.biased else None
        return children_gradient, weights_gradient, bias_gradient, None, None


def coupled_sum(
    kernels: DynamicKernels, children: Tensor, weights: Tensor, query: Tensor
) -> tuple[Tensor, Tensor]:
    """Return one sum of the votes, weighted by the softmax of their products with a query.

    Args:
        kernels: Kernels of a backend.
        children: (B, I, D).
        weights: (I, J, D, E).
        query: (B, J, E).

    Returns:
        Sums (B, J, E), and couplings (B, I, J).
    """
    sums, couplings = _CoupledSum.apply(
        children.contiguous(), weights.contiguous(), query.contiguous(), kernels
    )
    return sums, couplings


class _CoupledSum(FirstOrder):
    """One weighted sum of the votes, with its gradient."""

    @staticmethod
    def forward(
        children: Tensor, weights: Tensor, query: Tensor, kernels: DynamicKernels
    ) -> tuple[Tensor, Tensor]:
        sums, couplings = kernels.weighted_sum(children, weights, query, True)
        assert couplings is not None
        return sums, couplings

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Tensor, ...]) -> None:
        *tensors, ctx.kernels = inputs
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(*tensors)

    @staticmethod
    @once_differentiable
    def backward(
        ctx: Any, sums_gradient: Tensor | None, couplings_gradient: Tensor | None
    ) -> tuple[Tensor | None, ...]:
        children, weights, query = ctx.saved_tensors
        if sums_gradient is None:
            sums_gradient = torch.zeros_like(query)
        of_query = ctx.kernels.agreement_gradient(
            children, weights, query, sums_gradient, couplings_gradient
        )
        # The first iteration of the kernels is one without a query; it has no gradient here.
        queries, gradients = (
            torch.stack([torch.zeros_like(each), each]) for each in (query, sums_gradient)
        )
        of_children, of_weights = ctx.kernels.vote_gradients(
            children, weights, queries, gradients, couplings_gradient
        )
        return of_children, of_weights, of_query, None
