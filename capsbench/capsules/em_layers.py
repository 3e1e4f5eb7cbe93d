"""Layers of matrix capsules under EM routing: convolutional, and the class layer on top."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.coordinates import Coordinates, coordinates
from capsbench.capsules.deviation import deviation, largest
from capsbench.capsules.em_routing import EMRouted, em_routing
from capsbench.capsules.em_variants import PAPER, EMVariant
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.votes import check_votes_commute, window_votes
from capsbench.capsules.windows import sum_over_windows

PoseSize = Literal[4, 16]


class EMCapsules(RoutingLayer):
    """What layers under EM routing share: their parameters, and what can be asked of them.

    Each question takes the arguments of `forward` and is answered by the largest relative
    deviation from what should hold, see `deviation`.

    Args:
        kernel: Width of the window that has weights of its own at each place.
        in_types: C, capsule types of the layer below.
        out_types: P, capsule types of this layer.
        iterations: Iterations of EM routing.
        stride: Step of the window.
        variant: What the equations leave open, and where parameters start.
        pose_size: D, 4 for matrices of 4 x 4, 16 for vectors, which are transformed by 16 x 16.
    """

    def __init__(
        self,
        *,
        kernel: int,
        in_types: int,
        out_types: int,
        iterations: int,
        stride: int,
        variant: EMVariant,
        pose_size: PoseSize = 4,
    ) -> None:
        super().__init__()
        self.iterations = iterations
        self.stride = stride
        self.variant = variant
        self.pose_size = pose_size
        shape = kernel, kernel, in_types, out_types
        self.weights = nn.Parameter(variant.initial_weights(*shape, size=pose_size))
        self.beta_u = nn.Parameter(torch.full((out_types,), variant.beta_u))
        self.beta_a = nn.Parameter(torch.full((out_types,), variant.beta_a))

    def route(self, capsules: Capsules, inverse_temperature: Tensor | float) -> EMRouted:
        """Poses, presences and assignments of the parents."""
        return self._route(capsules, inverse_temperature, self.weights)

    def votes(self, capsules: Capsules) -> Tensor:
        """All votes, which a fast routing never stores: (B, H', W', P, I, 16)."""
        return window_votes(
            capsules.poses,
            self._window_weights(capsules, self.weights),
            stride=self.stride,
            offsets=self._offsets(capsules),
        )

    def vote_shape(
        self, capsules: Capsules, inverse_temperature: Tensor | float
    ) -> tuple[int, ...]:
        """(B, H', W', P, I, 16), with I children in each window."""
        batch, *size = capsules.presences.shape[:3]
        *kernel, in_types, types = self._window_weights(capsules, self.weights).shape[:4]
        places = [
            (side - window) // self.stride + 1 for side, window in zip(size, kernel, strict=True)
        ]
        return batch, *places, types, math.prod(kernel) * in_types, 16

    @abstractmethod
    def _window_weights(self, capsules: Capsules, weights: Tensor) -> Tensor:
        """The layer's weights for each place of its window: (KH, KW, C, P, 4, 4)."""

    def _offsets(self, capsules: Capsules) -> Tensor | None:
        """What is added to the votes from each place of the window: (KH, KW, 4, 4)."""
        return None

    def _route(
        self, capsules: Capsules, inverse_temperature: Tensor | float, weights: Tensor
    ) -> EMRouted:
        vectors = self.pose_size == 16
        found = em_routing(
            capsules.poses.unsqueeze(-2) if vectors else capsules.poses,
            capsules.presences,
            self._window_weights(capsules, weights),
            beta_u=self.beta_u,
            beta_a=self.beta_a,
            inverse_temperature=inverse_temperature,
            iterations=self.iterations,
            stride=self.stride,
            offsets=self._offsets(capsules),
            variant=self.variant,
            backend=self.backend,
        )
        return found._replace(poses=found.poses.squeeze(-2)) if vectors else found

    @torch.no_grad()
    def check_couplings(self, capsules: Capsules, inverse_temperature: Tensor | float) -> float:
        """Do the assignments of each child sum to one, over all parents that see it (eq. 29)?

        Parents at different places compete for a child, too (Gritzman 2019, third pitfall). The
        start of the authors' code, all that one iteration has, does not divide by places.
        """
        assignments = self.route(capsules, inverse_temperature).assignments.sum(dim=3)
        size = capsules.presences.shape[1], capsules.presences.shape[2]
        total = sum_over_windows(assignments, size, self.stride)
        seen = sum_over_windows(torch.ones_like(assignments), size, self.stride) > 0
        return deviation(total, seen.to(total))

    def check_votes(
        self, capsules: Capsules, inverse_temperature: Tensor | float, transform: Tensor
    ) -> float:
        """Do the votes move with the parts, whatever the linear map (article, eq. 5-6)?

        To rounding, but for what coordinate addition adds, which stays in its place.

        Args:
            capsules: (B, H, W, C).
            inverse_temperature: As for `forward`; votes do not depend on it.
            transform: (4, 4), applied to poses from the left.
        """
        weights = self._window_weights(capsules, self.weights)
        offsets = self._offsets(capsules)
        return check_votes_commute(
            lambda poses: window_votes(poses, weights, stride=self.stride, offsets=offsets),
            capsules.poses,
            transform,
        )

    @torch.no_grad()
    def check_transform(
        self, capsules: Capsules, inverse_temperature: Tensor | float, transform: Tensor
    ) -> float:
        """Do the parents' poses follow a linear map of the children's, and presences stay?

        To rounding for a signed permutation, such as a quarter turn. Not for other maps, since the
        variance of each element of a pose is taken on its own: a turn by 30 degrees, a translation
        and coordinate addition give a deviation worth reading.

        Args:
            capsules: (B, H, W, C).
            inverse_temperature: As for `forward`.
            transform: (4, 4), applied to poses from the left.
        """
        plain = self.route(capsules, inverse_temperature)
        moved = capsules._replace(poses=transform @ capsules.poses)
        found = self.route(moved, inverse_temperature)
        return _largest(found, plain._replace(poses=transform @ plain.poses))

    @torch.no_grad()
    def check_permutation(
        self, capsules: Capsules, inverse_temperature: Tensor | float, order: Tensor
    ) -> float:
        """Is it the same to the parents in which order the child types come, with their weights?

        Args:
            capsules: (B, H, W, C).
            inverse_temperature: As for `forward`.
            order: (C,), a permutation.
        """
        permuted = Capsules(capsules.poses[:, :, :, order], capsules.presences[..., order])
        found = self._route(permuted, inverse_temperature, self.weights[:, :, order])
        return _largest(found, self.route(capsules, inverse_temperature))

    @torch.no_grad()
    def check_batch_independence(
        self, capsules: Capsules, inverse_temperature: Tensor | float
    ) -> float:
        """Are the parents the same as those of each image alone?"""
        alone = [
            self.route(Capsules(poses, presences), inverse_temperature)
            for poses, presences in zip(*(x.split(1) for x in capsules), strict=True)
        ]
        expected = EMRouted(*map(torch.cat, zip(*alone, strict=True)))
        return _largest(self.route(capsules, inverse_temperature), expected)


class ConvEMCapsules(EMCapsules):
    """Convolutional matrix capsules: each parent sees a K x K window of the map (Hinton 2018, 4).

    Args:
        in_types: C, capsule types of the layer below.
        out_types: P, capsule types of this layer.
        kernel: K, width of the window; it never leaves the map.
        stride: Step of the window.
        iterations: Iterations of EM routing.
        variant: What the equations leave open, and where parameters start.
        pose_size: See `EMCapsules`.
    """

    def __init__(
        self,
        in_types: int,
        out_types: int,
        *,
        kernel: int,
        stride: int,
        iterations: int = 3,
        variant: EMVariant = PAPER,
        pose_size: PoseSize = 4,
    ) -> None:
        super().__init__(
            kernel=kernel,
            in_types=in_types,
            out_types=out_types,
            iterations=iterations,
            stride=stride,
            variant=variant,
            pose_size=pose_size,
        )

    def forward(self, capsules: Capsules, inverse_temperature: Tensor | float) -> Capsules:
        """Route a map (B, H, W, C) of capsules to a map (B, H', W', P)."""
        routed = self.route(capsules, inverse_temperature)
        return Capsules(routed.poses, routed.presences)

    def _window_weights(self, capsules: Capsules, weights: Tensor) -> Tensor:
        return weights


class ClassEMCapsules(EMCapsules):
    """Class capsules: fully connected to all places of the map, which share one set of weights.

    Where a child stood is told by coordinate addition alone (Hinton 2018, section 4).

    Args:
        in_types: C, capsule types of the layer below.
        num_classes: P.
        iterations: Iterations of EM routing.
        coordinates: What votes are told of where they come from; None for nothing.
        variant: What the equations leave open, and where parameters start.
        pose_size: See `EMCapsules`; a vector is told in the same elements, row by row.
    """

    def __init__(
        self,
        in_types: int,
        num_classes: int,
        *,
        iterations: int = 3,
        coordinates: Coordinates | None = coordinates,
        variant: EMVariant = PAPER,
        pose_size: PoseSize = 4,
    ) -> None:
        super().__init__(
            kernel=1,
            in_types=in_types,
            out_types=num_classes,
            iterations=iterations,
            stride=1,
            variant=variant,
            pose_size=pose_size,
        )
        self.coordinates = coordinates

    def forward(self, capsules: Capsules, inverse_temperature: Tensor | float) -> Capsules:
        """Route a map (B, H, W, C) of capsules to a list: poses (B, P, 4, 4), presences (B, P)."""
        routed = self.route(capsules, inverse_temperature)
        return Capsules(routed.poses[:, 0, 0], routed.presences[:, 0, 0])

    def _window_weights(self, capsules: Capsules, weights: Tensor) -> Tensor:
        height, width = capsules.presences.shape[1:3]
        return weights.expand(height, width, -1, -1, -1, -1)

    def _offsets(self, capsules: Capsules) -> Tensor | None:
        height, width = capsules.presences.shape[1:3]
        if self.coordinates is None:
            return None
        offsets = self.coordinates(height, width, like=self.weights)
        return offsets.flatten(-2).unsqueeze(-2) if self.pose_size == 16 else offsets


def _largest(found: EMRouted, expected: EMRouted) -> float:
    """The larger deviation of poses and presences."""
    return largest(*map(deviation, found[:2], expected[:2]))
