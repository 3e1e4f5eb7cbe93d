"""Layers of matrix capsules under EM routing: convolutional, and the class layer on top."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Literal, NamedTuple

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.coordinates import Coordinates, coordinates
from capsbench.capsules.em_routing import EMRoutingResult, em_routing
from capsbench.capsules.em_variants import PAPER, EMVariant
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.relative_error import max_or_nan, max_relative_error
from capsbench.capsules.votes import check_votes_commute, window_votes
from capsbench.capsules.windows import sum_over_windows

PoseSize = Literal[4, 16]


class ClassCapsules(NamedTuple):
    """Class capsules of EM routing.

    Attributes:
        poses: (B, P, 4, 4) or (B, P, 16).
        presences: (B, P), in [0, 1].
        logits: (B, P), of the presences; losses use them, because a presence near 1 has no
            gradient.
    """

    poses: Tensor
    presences: Tensor
    logits: Tensor


class EMCapsules(RoutingLayer):
    """Base class of layers under EM routing: parameters and checks.

    Each check takes the arguments of `forward` and returns the largest relative error, see
    `max_relative_error`.

    Args:
        kernel: Width of the window whose positions have separate weights.
        in_types: C, capsule types of the layer below.
        out_types: P, capsule types of this layer.
        iterations: Iterations of EM routing.
        stride: Step of the window.
        variant: Details that the equations leave open, and initial values of parameters.
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

    def route(self, capsules: Capsules, inverse_temperature: Tensor | float) -> EMRoutingResult:
        """Return poses, presences and assignments of the parents."""
        return self._route(capsules, inverse_temperature, self.weights)

    def votes(self, capsules: Capsules) -> Tensor:
        """Compute all votes, which the fast backends never store: (B, H', W', P, I, 16)."""
        return window_votes(
            capsules.poses,
            self._window_weights(capsules, self.weights),
            stride=self.stride,
            offsets=self._offsets(capsules),
        )

    def vote_shape(
        self, capsules: Capsules, inverse_temperature: Tensor | float
    ) -> tuple[int, ...]:
        """Return (B, H', W', P, I, 16), with I children in each window."""
        batch, *size = capsules.presences.shape[:3]
        *kernel, in_types, types = self._window_weights(capsules, self.weights).shape[:4]
        positions = [
            (side - window) // self.stride + 1 for side, window in zip(size, kernel, strict=True)
        ]
        return batch, *positions, types, math.prod(kernel) * in_types, 16

    @abstractmethod
    def _window_weights(self, capsules: Capsules, weights: Tensor) -> Tensor:
        """Return the weights for each position of the window: (KH, KW, C, P, 4, 4)."""

    def _offsets(self, capsules: Capsules) -> Tensor | None:
        """Return offsets of the votes from each position of the window, (KH, KW, 4, 4), or None."""
        return None

    def _route(
        self, capsules: Capsules, inverse_temperature: Tensor | float, weights: Tensor
    ) -> EMRoutingResult:
        vectors = self.pose_size == 16
        result = em_routing(
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
        return result._replace(poses=result.poses.squeeze(-2)) if vectors else result

    @torch.no_grad()
    def check_couplings(self, capsules: Capsules, inverse_temperature: Tensor | float) -> float:
        """Check that the assignments of each child sum to one over all its parents (eq. 29).

        Parents at different positions compete for a child, too (Gritzman 2019, third pitfall). The
        initial assignments of the authors' code, which are the only ones with one iteration, are
        not divided by the number of positions.
        """
        assignments = self.route(capsules, inverse_temperature).assignments.sum(dim=3)
        size = capsules.presences.shape[1], capsules.presences.shape[2]
        total = sum_over_windows(assignments, size, self.stride)
        covered = sum_over_windows(torch.ones_like(assignments), size, self.stride) > 0
        return max_relative_error(total, covered.to(total))

    def check_votes(
        self, capsules: Capsules, inverse_temperature: Tensor | float, transform: Tensor
    ) -> float:
        """Check that the votes move with the parts under any linear map (article, eq. 5-6).

        Exact to rounding, except for the offsets of coordinate addition, which do not move.

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
        """Check that a linear map of the children's poses maps the parents' poses, too.

        Presences should not change. Exact to rounding for a signed permutation, such as a quarter
        turn. Not exact for other maps, since each element of a pose has its own variance: a
        rotation by 30 degrees, a translation and coordinate addition have a larger error.

        Args:
            capsules: (B, H, W, C).
            inverse_temperature: As for `forward`.
            transform: (4, 4), applied to poses from the left.
        """
        plain = self.route(capsules, inverse_temperature)
        transformed = capsules._replace(poses=transform @ capsules.poses)
        result = self.route(transformed, inverse_temperature)
        return _max_error(result, plain._replace(poses=transform @ plain.poses))

    @torch.no_grad()
    def check_permutation(
        self, capsules: Capsules, inverse_temperature: Tensor | float, order: Tensor
    ) -> float:
        """Check invariance to permuting child types together with their weights.

        Args:
            capsules: (B, H, W, C).
            inverse_temperature: As for `forward`.
            order: (C,), a permutation.
        """
        permuted = Capsules(capsules.poses[:, :, :, order], capsules.presences[..., order])
        result = self._route(permuted, inverse_temperature, self.weights[:, :, order])
        return _max_error(result, self.route(capsules, inverse_temperature))

    @torch.no_grad()
    def check_batch_independence(
        self, capsules: Capsules, inverse_temperature: Tensor | float
    ) -> float:
        """Check that the parents of an image do not depend on the rest of the batch."""
        alone = [
            self.route(Capsules(poses, presences), inverse_temperature)
            for poses, presences in zip(*(x.split(1) for x in capsules), strict=True)
        ]
        expected = EMRoutingResult(*map(torch.cat, zip(*alone, strict=True)))
        return _max_error(self.route(capsules, inverse_temperature), expected)


class ConvEMCapsules(EMCapsules):
    """Convolutional matrix capsules: each parent has a K x K window of the map (Hinton 2018, 4).

    Args:
        in_types: C, capsule types of the layer below.
        out_types: P, capsule types of this layer.
        kernel: K, width of the window; without padding.
        stride: Step of the window.
        iterations: Iterations of EM routing.
        variant: Details that the equations leave open, and initial values of parameters.
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
    """Class capsules: connected to all positions of the map, which share one set of weights.

    The position of a child enters only through coordinate addition (Hinton 2018, section 4).

    Args:
        in_types: C, capsule types of the layer below.
        num_classes: P, the number of classes.
        iterations: Iterations of EM routing.
        coordinates: Coordinate addition to the votes; None for none.
        variant: Details that the equations leave open, and initial values of parameters.
        pose_size: See `EMCapsules`; in a vector the same elements are added, row by row.
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

    def forward(self, capsules: Capsules, inverse_temperature: Tensor | float) -> ClassCapsules:
        """Route a map (B, H, W, C) of capsules to the classes."""
        routed = self.route(capsules, inverse_temperature)
        parts = routed.poses, routed.presences, routed.logits
        return ClassCapsules(*(part[:, 0, 0] for part in parts))

    def _window_weights(self, capsules: Capsules, weights: Tensor) -> Tensor:
        height, width = capsules.presences.shape[1:3]
        return weights.expand(height, width, -1, -1, -1, -1)

    def _offsets(self, capsules: Capsules) -> Tensor | None:
        height, width = capsules.presences.shape[1:3]
        if self.coordinates is None:
            return None
        offsets = self.coordinates(height, width, like=self.weights)
        return offsets.flatten(-2).unsqueeze(-2) if self.pose_size == 16 else offsets


def _max_error(result: EMRoutingResult, expected: EMRoutingResult) -> float:
    """Return the larger error of poses and presences."""
    return max_or_nan(*map(max_relative_error, result[:2], expected[:2]))
