"""Inverted dot-product attention: each child chooses the parents that its votes resemble.

Tsai, Srivastava, Goh, Salakhutdinov, 'Capsules with Inverted Dot-Product Attention Routing' (ICLR
2020), section 3. There are no presences: parents compete for a child by the agreement of their
poses with its votes, and layer normalisation takes the place of the squash.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import choose
from capsbench.capsules.kernels.dynamic import coupled_sum
from capsbench.capsules.kernels.loading import kernels
from capsbench.capsules.pair_layers import PairRoutingResult
from capsbench.capsules.precision import full_precision
from capsbench.capsules.votes import pair_votes
from capsbench.errors import UserError


@full_precision
def attention_routing(
    children: Tensor,
    weights: Tensor,
    *,
    normalize: Callable[[Tensor], Tensor],
    iterations: int,
    backend: Backend = "auto",
) -> PairRoutingResult:
    """Route capsules to parents by the dot products of votes and parents (section 3, eq. 1-3).

    The agreement of a vote v_ij with a parent p_j is v_ij · p_j / √E, as in the authors' code;
    couplings are its softmax over the parents, and the parents are the normalised sums of the votes
    with these weights. The first iteration has equal couplings. Layers are routed one after the
    other; the paper also updates all layers at once.

    Args:
        children: (B, I, D).
        weights: (I, J, D, E), the transformation of each pair of child and parent.
        normalize: Layer normalisation of (B, J, E) over E.
        iterations: Number of weighted sums, at least 1; 1 gives equal couplings.
        backend: Implementation, see `capsbench.capsules.backends`.

    Returns:
        Normalised parents (B, J, E), and couplings (B, I, J) of the last iteration.

    Raises:
        UserError: ``iterations`` is below 1, or the backend cannot run here.
    """
    if iterations < 1:
        raise UserError(f"attention routing needs at least one iteration; got {iterations}")
    _, num_parents, _, parent_dim = weights.shape
    width = num_parents * parent_dim
    implementation = choose(
        backend, (children, weights), len(children) * children.shape[1] * width, width
    )
    if implementation == "textbook":
        votes = pair_votes(children, weights)  # (B, I, J, E)

        def weighted_sum(query: Tensor) -> tuple[Tensor, Tensor]:
            couplings = torch.einsum("bije,bje->bij", votes, query).softmax(dim=-1)
            return torch.einsum("bij,bije->bje", couplings, votes), couplings

    else:
        passes = kernels("dynamic", implementation)

        def weighted_sum(query: Tensor) -> tuple[Tensor, Tensor]:
            return coupled_sum(passes, children, weights, query)

    query = children.new_zeros(len(children), num_parents, parent_dim)
    for _ in range(iterations):
        sums, couplings = weighted_sum(query)
        parents = normalize(sums)
        query = parents / parent_dim**0.5
    return PairRoutingResult(parents, couplings)
