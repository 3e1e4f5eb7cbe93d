"""Self-attention routing of Efficient-CapsNet: one pass, in which votes choose by their neighbours.

Mazzia, Salvetti, Chiaberge, 'Efficient-CapsNet: Capsule Network with Self-Attention Routing'
(Scientific Reports 2021), with the authors' code.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import exponential_squash
from capsbench.capsules.pair_layers import PairRouting, PairRoutingResult
from capsbench.capsules.precision import full_precision
from capsbench.capsules.votes import pair_votes


@full_precision
def self_attention_routing(children: Tensor, weights: Tensor, *, bias: Tensor) -> PairRoutingResult:
    """Route capsules to parents by the agreement of each vote with all votes for the same parent.

    The agreement of a vote is its dot product with the sum of the votes for its parent, over √E.
    This is a row of the matrix of all pairs summed up, which is never stored. Couplings are the
    softmax of it over the parents. A parent is the squashed sum of its votes with the weights
    coupling plus bias. There are no iterations.

    Args:
        children: (B, I, D).
        weights: (I, J, D, E), the transformation of each pair of child and parent.
        bias: (I, J), log-priors in the paper, which the authors' code adds after the softmax.

    Returns:
        Parents (B, J, E), and couplings (B, I, J) without the bias.
    """
    votes = pair_votes(children, weights)  # (B, I, J, E)
    total = votes.sum(dim=1, keepdim=True)
    agreement = (votes * total).sum(dim=-1) / math.sqrt(votes.shape[-1])
    couplings = agreement.softmax(dim=-1)
    sums = torch.einsum("bij,bije->bje", couplings + bias, votes)
    return PairRoutingResult(exponential_squash(sums), couplings)


class SelfAttentionRouting(PairRouting):
    """A fully connected layer of vector capsules under self-attention routing.

    The variance of initial weights is 2 / (I J D), as in the authors' code, whose library takes
    them for a convolution with I J positions.

    Args:
        num_children: I, capsules of the layer below.
        child_dim: D, length of their pose vectors.
        num_parents: J, capsules of this layer.
        parent_dim: E, length of their pose vectors.
    """

    one_form = True

    def __init__(
        self, *, num_children: int, child_dim: int, num_parents: int, parent_dim: int
    ) -> None:
        super().__init__(
            num_children=num_children,
            child_dim=child_dim,
            num_parents=num_parents,
            parent_dim=parent_dim,
            weight_std=math.sqrt(2 / (num_children * num_parents * child_dim)),
        )
        self.bias = nn.Parameter(torch.zeros(num_children, num_parents))

    def route_with(self, children: Tensor, weights: Tensor) -> PairRoutingResult:
        """Return parents and couplings of children (B, I, D) under given transformations."""
        return self_attention_routing(children, weights, bias=self.bias)
