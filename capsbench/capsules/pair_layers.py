"""Base of fully connected capsule layers, with one transformation for each pair."""

from __future__ import annotations

from abc import abstractmethod
from typing import NamedTuple

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules, length
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.relative_error import max_relative_error
from capsbench.capsules.votes import pair_votes


class PairRoutingResult(NamedTuple):
    """Result of a routing of a list of capsules.

    Attributes:
        parents: (B, J, E), squashed or normalised.
        couplings: (B, I, J), which sum to one over the parents.
    """

    parents: Tensor
    couplings: Tensor


class PairRouting(RoutingLayer):
    """Base class: votes of vector capsules, and checks that hold for any routing.

    Args:
        num_children: I, capsules of the layer below.
        child_dim: D, length of their pose vectors.
        num_parents: J, capsules of this layer.
        parent_dim: E, length of their pose vectors.
        weight_std: Standard deviation of the initial weights, which are normal.
    """

    def __init__(
        self,
        *,
        num_children: int,
        child_dim: int,
        num_parents: int,
        parent_dim: int,
        weight_std: float,
    ) -> None:
        super().__init__()
        shape = num_children, num_parents, child_dim, parent_dim
        self.weights = nn.Parameter(torch.randn(shape) * weight_std)

    def forward(self, children: Tensor) -> Capsules:
        """Route children (B, I, D) to parents: poses (B, J, E), and their lengths as presences."""
        parents = self.route(children).parents
        return Capsules(parents, length(parents))

    def route(self, children: Tensor) -> PairRoutingResult:
        """Return parents and couplings of children (B, I, D)."""
        return self.route_with(children, self.weights)

    @abstractmethod
    def route_with(self, children: Tensor, weights: Tensor) -> PairRoutingResult:
        """Return parents and couplings of children (B, I, D) under given transformations."""

    def votes(self, children: Tensor) -> Tensor:
        """Compute all votes, which the fast backends never store: (B, I, D) to (B, I, J, E)."""
        return pair_votes(children, self.weights)

    def vote_shape(self, children: Tensor) -> tuple[int, ...]:
        """Return (B, I, J, E) for children (B, I, D)."""
        num_children, num_parents, _, parent_dim = self.weights.shape
        return len(children), num_children, num_parents, parent_dim

    @torch.no_grad()
    def check_couplings(self, children: Tensor) -> float:
        """Check that the couplings of each child (B, I, D) sum to one over the parents (eq. 8)."""
        total = self.route(children).couplings.sum(dim=-1)
        return max_relative_error(total, torch.ones_like(total))

    @torch.no_grad()
    def check_squash(self, children: Tensor) -> float:
        """Check that no parent of children (B, I, D) is longer than one (eq. 10)."""
        lengths = torch.linalg.vector_norm(self.route(children).parents.double(), dim=-1)
        return max_relative_error(lengths, lengths.clamp_max(1))

    @torch.no_grad()
    def check_orthogonal(self, children: Tensor, transform: Tensor) -> float:
        """Check that an orthogonal map of the votes maps the parents in the same way.

        Such a map preserves lengths and agreements. The error is large for a layer with a bias,
        which does not transform with the votes, and for maps that shear or scale the votes.

        Args:
            children: (B, I, D).
            transform: (E, E), Q with QᵀQ = 1; the votes û become û Q.
        """
        transformed = self.route_with(children, self.weights @ transform)
        return max_relative_error(transformed.parents, self.route(children).parents @ transform)

    @torch.no_grad()
    def check_batch_independence(self, children: Tensor) -> float:
        """Check that the parents of children (B, I, D) do not depend on the rest of the batch."""
        alone = torch.cat([self.route(image).parents for image in children.split(1)])
        return max_relative_error(self.route(children).parents, alone)
