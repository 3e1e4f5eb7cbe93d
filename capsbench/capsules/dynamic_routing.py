"""Dynamic routing by agreement: parts vote for wholes, and votes that agree get more weight.

Sabour, Frosst, Hinton, 'Dynamic Routing Between Capsules' (2017); the article's equations 7-11.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import choose
from capsbench.capsules.capsule import squash
from capsbench.capsules.kernels import dynamic
from capsbench.capsules.kernels.loading import kernels
from capsbench.capsules.pair_layers import PairRouting, PairRoutingResult
from capsbench.capsules.precision import full_precision
from capsbench.capsules.relative_error import max_relative_error
from capsbench.capsules.votes import pair_votes
from capsbench.errors import UserError


@full_precision
def dynamic_routing(
    children: Tensor,
    weights: Tensor,
    *,
    iterations: int,
    bias: Tensor | None = None,
    backend: Backend = "auto",
) -> PairRoutingResult:
    """Route vector capsules to parents (article, eq. 7-11).

    The votes û_ij = u_i W_ij (eq. 7) are by far the largest tensor; only the textbook backend
    stores them. The gradient flows through all iterations.

    Agreements are summed in the logits, and eq. 8 is their softmax, as in the paper's procedure 1.
    Read literally, the article's text overwrites the logits with their softmax, adds the agreement
    (eq. 11) to it, and takes the softmax of the sum.

    Args:
        children: (B, I, D), the poses u_i.
        weights: (I, J, D, E), the transformation W_ij of each pair of child and parent.
        iterations: Number of routing iterations, at least 1; 1 gives a uniform sum.
        bias: (J, E), added to the sum before the squash; in the authors' code, not in the paper.
        backend: Implementation, see `capsbench.capsules.backends`.

    Returns:
        Parents (B, J, E), and couplings (B, I, J) of the last iteration.

    Raises:
        UserError: ``iterations`` is below 1, the weights do not fit the children, or the backend
            cannot run here.
    """
    num_children, num_parents, dim, parent_dim = weights.shape
    if iterations < 1:
        raise UserError(f"dynamic routing needs at least one iteration; got {iterations}")
    if children.shape[1:] != (num_children, dim):
        raise UserError(
            f"dynamic routing expected {num_children} children of length {dim}, as in its weights; "
            f"got {tuple(children.shape[1:])}"
        )
    width = num_parents * parent_dim
    tensors = (children, weights) if bias is None else (children, weights, bias)
    implementation = choose(backend, tensors, len(children) * num_children * width, width)
    if implementation == "textbook":
        return _textbook(children, weights, bias, iterations)
    passes = kernels("dynamic", implementation)
    return PairRoutingResult(*dynamic.route(passes, children, weights, bias, iterations))


def _textbook(
    children: Tensor, weights: Tensor, bias: Tensor | None, iterations: int
) -> PairRoutingResult:
    """Compute procedure 1 of the paper on stored votes."""
    votes = pair_votes(children, weights)  # eq. 7: (B, I, J, E)
    logits = votes.new_zeros(votes.shape[:-1])
    for iteration in range(iterations):
        couplings = logits.softmax(dim=-1)  # eq. 8: over the parents
        routed = torch.einsum("bij,bije->bje", couplings, votes)  # eq. 9
        parents = squash(routed if bias is None else routed + bias)  # eq. 10
        if iteration + 1 < iterations:
            logits = logits + torch.einsum("bije,bje->bij", votes, parents)  # eq. 11
    return PairRoutingResult(parents, couplings)


class DynamicRouting(PairRouting):
    """A fully connected layer of vector capsules under dynamic routing.

    Args:
        num_children: I, capsules of the layer below.
        child_dim: D, length of their pose vectors.
        num_parents: J, capsules of this layer.
        parent_dim: E, length of their pose vectors.
        iterations: Number of routing iterations.
        bias: Add a learned bias to the routed sum, as in the authors' code.
    """

    def __init__(
        self,
        *,
        num_children: int,
        child_dim: int,
        num_parents: int,
        parent_dim: int,
        iterations: int = 3,
        bias: bool = False,
    ) -> None:
        super().__init__(
            num_children=num_children,
            child_dim=child_dim,
            num_parents=num_parents,
            parent_dim=parent_dim,
            weight_std=0.1,  # as in the authors' code
        )
        self.iterations = iterations
        self.bias = nn.Parameter(torch.full((num_parents, parent_dim), 0.1)) if bias else None

    @torch.no_grad()
    def check_permutation(self, children: Tensor, order: Tensor) -> float:
        """Check invariance to permuting children together with their weights.

        Args:
            children: (B, I, D).
            order: (I,), a permutation.
        """
        permuted = self.route_with(children[:, order], self.weights[order])
        return max_relative_error(permuted.parents, self.route(children).parents)

    def route_with(self, children: Tensor, weights: Tensor) -> PairRoutingResult:
        """Return parents and couplings of children (B, I, D) under given transformations."""
        return dynamic_routing(
            children,
            weights,
            iterations=self.iterations,
            bias=self.bias,
            backend=self.backend,
        )
