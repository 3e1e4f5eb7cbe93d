"""Base of capsule layers whose parents have a window of the map each, for any routing.

All have the same votes, so that a comparison of two of them changes the routing alone. A window
that covers the whole map makes a layer fully connected.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.relative_error import max_relative_error
from capsbench.capsules.votes import window_votes
from capsbench.capsules.windows import sum_over_windows, windows

Pose = Literal["vector", "matrix"]
SIZE = 16  # elements of a pose: a vector of 16, or a matrix of 4 x 4


class Routed(NamedTuple):
    """Parents of a layer on a map, with the assignment of children to them.

    Attributes:
        poses: (B, H', W', P, 16) or (B, H', W', P, 4, 4).
        presences: (B, H', W', P), in [0, 1].
        logits: (B, H', W', P): if the parents are classes, the logarithms of their probabilities up
            to a constant.
        couplings: (B, H', W', P, KH, KW, C).
    """

    poses: Tensor
    presences: Tensor
    logits: Tensor
    couplings: Tensor


class WindowCapsules(RoutingLayer):
    """Base class: votes, and checks of couplings.

    Args:
        in_types: C, capsule types of the layer below.
        out_types: P, capsule types of this layer.
        kernel: Height and width of the window.
        stride: Step of the window; without padding.
        iterations: Routing iterations.
        pose: A ``vector`` of 16 elements, transformed by matrices of 16 x 16, or a ``matrix`` of
            4 x 4, transformed by others of that size.
        vote_scale: Standard deviation of initial votes, for poses whose elements have that of one.
        shared: All children have the same transformation for a type of parents, wherever they are
            in the window (Gu and Tresp 2020, one transformation for all primary capsules).
    """

    across_positions: ClassVar[bool] = True  # parents of all positions compete for a child
    weighs_presences: ClassVar[bool] = (
        True  # an absent child has no weight, rather than short votes
    )

    def __init__(
        self,
        *,
        in_types: int,
        out_types: int,
        kernel: tuple[int, int],
        stride: int = 1,
        iterations: int = 1,
        pose: Pose = "vector",
        vote_scale: float = 1.0,
        shared: bool = False,
    ) -> None:
        super().__init__()
        self.window = (*kernel, in_types)
        self.out_types = out_types
        self.stride = stride
        self.iterations = iterations
        self.pose = pose
        dim = SIZE if pose == "vector" else 4
        own = (1, 1, 1) if shared else self.window
        self.transformations = nn.Parameter(
            torch.randn(*own, out_types, dim, dim) * vote_scale / math.sqrt(dim)
        )

    @property
    def weights(self) -> Tensor:
        """The transformations of all pairs in a window: (KH, KW, C, P, D, D)."""
        return self.transformations.expand(*self.window, -1, -1, -1)

    def forward(self, capsules: Capsules) -> Routed:
        """Route a map (B, H, W, C) of capsules to a map (B, H', W', P)."""
        return self.route(capsules)

    @abstractmethod
    def route(self, capsules: Capsules) -> Routed:
        """Return the parents and the assignment of children to them."""

    def advance(self, progress: float) -> None:
        """Update schedules before a training step, at a completed share of the training."""

    def votes(self, capsules: Capsules) -> Tensor:
        """Compute all votes, which the fast backends never store: (B, H', W', P, I, 16)."""
        return window_votes(capsules.poses, self.weights, stride=self.stride)

    def vote_shape(self, capsules: Capsules) -> tuple[int, ...]:
        """Return (B, H', W', P, I, 16), with I children in each window."""
        batch, *size = capsules.presences.shape[:3]
        positions = [(s - k) // self.stride + 1 for s, k in zip(size, self.window[:2], strict=True)]
        return batch, *positions, self.out_types, math.prod(self.window), SIZE

    @torch.no_grad()
    def check_couplings(self, capsules: Capsules) -> float:
        """Check that the couplings of each child sum to one over its parents."""
        total = self.route(capsules).couplings.sum(dim=3)  # (B, H', W', KH, KW, C)
        if not self.across_positions:
            return max_relative_error(total, torch.ones_like(total))
        size = capsules.presences.shape[1], capsules.presences.shape[2]
        covered = sum_over_windows(torch.ones_like(total), size, self.stride) > 0
        summed = sum_over_windows(total, size, self.stride)
        return max_relative_error(summed, covered.to(summed))

    def _rows(self, capsules: Capsules) -> Tensor:
        """Return poses as rows: (B, H, W, C, R, D), R = 1 for vectors."""
        return capsules.poses.unsqueeze(-2) if self.pose == "vector" else capsules.poses

    def _vectors(self, capsules: Capsules) -> tuple[Tensor, Tensor]:
        """Return children (N, I, 16) of each position, and weights (I, P, 16, 16)."""
        poses = capsules.poses if self.pose == "vector" else capsules.poses.flatten(-2)
        patches = windows(poses, self.window[:2], self.stride)
        return patches.flatten(3, 5).flatten(0, 2), self._vector_weights().flatten(0, 2)

    def _vector_weights(self) -> Tensor:
        """Return the transformations of poses as vectors: (KH, KW, C, P, 16, 16).

        A 4 x 4 matrix W on the right of a pose is a block-diagonal one on its rows in sequence.
        """
        if self.pose == "vector":
            return self.weights
        weights = self.weights
        eye = torch.eye(4, dtype=weights.dtype, device=weights.device)
        return torch.kron(eye, weights)

    def _on_map(self, capsules: Capsules, values: Tensor) -> Tensor:
        """Return values (N, ...) of all positions as (B, H', W', ...)."""
        return values.unflatten(0, self.vote_shape(capsules)[:3])

    def _poses(self, vectors: Tensor) -> Tensor:
        """Return poses of 16 elements in the form of the layer."""
        return vectors if self.pose == "vector" else vectors.unflatten(-1, (4, 4))

    def _couplings(self, capsules: Capsules, couplings: Tensor) -> Tensor:
        """Return couplings (N, I, P) as (B, H', W', P, KH, KW, C)."""
        return self._on_map(capsules, couplings.mT).unflatten(-1, self.window)
