"""Layers of matrix capsules under EM routing: convolutional, and the class layer on top."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.coordinates import coordinates
from capsbench.capsules.em_routing import EMRouted, em_routing
from capsbench.capsules.layer import RoutingLayer


class _EMCapsules(RoutingLayer):
    """The parameters of a layer under EM routing, and where they start.

    A presence that saturates before training never learns, for the spread loss sees differences of
    presences alone. Transformations therefore start near the identity, which keeps poses alive
    through the layers; β_u starts half a unit of log σ below the votes' expected spread, so that
    mass speaks for a parent, and β_a at the cost of a parent with half of its mass.

    Args:
        kernel: Width of the window that has weights of its own at each place.
        in_types: C, capsule types of the layer below.
        out_types: P, capsule types of this layer.
        iterations: Iterations of EM routing.
        spread: σ of the votes to expect before training.
    """

    def __init__(
        self, kernel: int, in_types: int, out_types: int, *, iterations: int, spread: float
    ) -> None:
        super().__init__()
        self.iterations = iterations
        noise = 0.1 * torch.randn(kernel, kernel, in_types, out_types, 4, 4)
        self.weights = nn.Parameter(torch.eye(4) + noise)
        self.beta_u = nn.Parameter(torch.full((out_types,), -math.log(spread) - 0.5))
        self.beta_a = nn.Parameter(torch.full((out_types,), 16 * -0.5 * 0.5))


class ConvEMCapsules(_EMCapsules):
    """Convolutional matrix capsules: each parent sees a K x K window of the map (Hinton 2018, 4).

    Args:
        in_types: C, capsule types of the layer below.
        out_types: P, capsule types of this layer.
        kernel: K, width of the window; it never leaves the map.
        stride: Step of the window.
        iterations: Iterations of EM routing.
        spread: σ of the votes to expect before training, that of the children's poses.
    """

    def __init__(
        self,
        in_types: int,
        out_types: int,
        *,
        kernel: int,
        stride: int,
        iterations: int = 3,
        spread: float = 1.0,
    ) -> None:
        super().__init__(kernel, in_types, out_types, iterations=iterations, spread=spread)
        self.stride = stride

    def forward(self, capsules: Capsules, inverse_temperature: Tensor | float) -> Capsules:
        """Route a map (B, H, W, C) of capsules to a map (B, H', W', P)."""
        routed = self.route(capsules, inverse_temperature)
        return Capsules(routed.poses, routed.presences)

    def route(self, capsules: Capsules, inverse_temperature: Tensor | float) -> EMRouted:
        """Poses, presences and assignments of the parents."""
        return em_routing(
            capsules.poses,
            capsules.presences,
            self.weights,
            beta_u=self.beta_u,
            beta_a=self.beta_a,
            inverse_temperature=inverse_temperature,
            iterations=self.iterations,
            stride=self.stride,
        )

    def vote_shape(
        self, capsules: Capsules, inverse_temperature: Tensor | float
    ) -> tuple[int, ...]:
        """(B, H', W', P, K * K * C, 16)."""
        return _vote_shape(capsules, self.weights, self.stride)


class ClassEMCapsules(_EMCapsules):
    """Class capsules: fully connected to all places of the map, which share one set of weights.

    Where a child stood is told by coordinate addition alone (Hinton 2018, section 4).

    Args:
        in_types: C, capsule types of the layer below.
        num_classes: P.
        iterations: Iterations of EM routing.
        spread: σ of the votes to expect before training, that of the children's poses.
        coordinate_addition: Whether votes are told where they come from.
    """

    def __init__(
        self,
        in_types: int,
        num_classes: int,
        *,
        iterations: int = 3,
        spread: float = 1.0,
        coordinate_addition: bool = True,
    ) -> None:
        super().__init__(1, in_types, num_classes, iterations=iterations, spread=spread)
        self.coordinate_addition = coordinate_addition

    def forward(self, capsules: Capsules, inverse_temperature: Tensor | float) -> Capsules:
        """Route a map (B, H, W, C) of capsules to a list: poses (B, P, 4, 4), presences (B, P)."""
        routed = self.route(capsules, inverse_temperature)
        return Capsules(routed.poses[:, 0, 0], routed.presences[:, 0, 0])

    def route(self, capsules: Capsules, inverse_temperature: Tensor | float) -> EMRouted:
        """Poses, presences and assignments of the parents, at one place."""
        height, width = capsules.presences.shape[1:3]
        offsets = (
            coordinates(height, width, like=self.weights) if self.coordinate_addition else None
        )
        return em_routing(
            capsules.poses,
            capsules.presences,
            self.weights.expand(height, width, -1, -1, -1, -1),
            beta_u=self.beta_u,
            beta_a=self.beta_a,
            inverse_temperature=inverse_temperature,
            iterations=self.iterations,
            offsets=offsets,
        )

    def vote_shape(
        self, capsules: Capsules, inverse_temperature: Tensor | float
    ) -> tuple[int, ...]:
        """(B, 1, 1, P, H * W * C, 16)."""
        height, width = capsules.presences.shape[1:3]
        return _vote_shape(capsules, self.weights.expand(height, width, -1, -1, -1, -1), 1)


def _vote_shape(capsules: Capsules, weights: Tensor, stride: int) -> tuple[int, ...]:
    batch, *size = capsules.presences.shape[:3]
    *kernel, in_types, out_types = weights.shape[:4]
    places = [(side - window) // stride + 1 for side, window in zip(size, kernel, strict=True)]
    return batch, *places, out_types, math.prod(kernel) * in_types, 16
