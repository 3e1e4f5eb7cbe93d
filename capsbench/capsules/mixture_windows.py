"""Children in the windows of a map, and their votes: what all routings by Gaussians share.

Each parent has a window of the map of children. Parents of all positions compete for a child, and
each is a Gaussian over the votes of its window.
"""

from __future__ import annotations

import math
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import choose
from capsbench.capsules.em_votes import KernelVotes, StoredVotes
from capsbench.capsules.kernels.em import Assignments
from capsbench.capsules.kernels.loading import kernels
from capsbench.capsules.mixture import MixtureMoments
from capsbench.capsules.windows import num_covered_positions, sum_over_windows, windows
from capsbench.errors import UserError

# Least sum of the presences in a window, so that votes have a mean if no child is present. The same
# in every dtype.
LEAST_PRESENCE = 2.0**-33


class GaussianRoutingResult(NamedTuple):
    """Result of VB and of Heinsen routing.

    Attributes:
        poses: (B, H', W', P, R, D), the means of the Gaussians.
        logits: (B, H', W', P), of the presences, which are their sigmoids.
        assignments: (B, H', W', P, KH, KW, C), those of the last M-step. From the second iteration
            on they sum to one over all parents (positions and types) of a child; the uniform ones
            of the first do at each position.
    """

    poses: Tensor
    logits: Tensor
    assignments: Tensor


class Votes(Protocol):
    """Votes relative to a centre (N, P, 4, 4), through which no gradient flows."""

    centre: Tensor

    def moments(self, assignments: Assignments) -> MixtureMoments:
        """Return mass (N, P), mean and variance (N, P, 4, 4) of the votes of present children."""

    def log_densities(
        self, mean: Tensor, log_variance: Tensor, base: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Compute log densities, see `capsbench.capsules.kernels.em.EMKernels.log_densities`."""


class MixtureWindows:
    """The children of each of N positions, all those of a batch and a map, with their votes.

    Presences whose sum in a window is below 2^-33 are raised by what is missing, so that without a
    present child all children count equally.

    Attributes:
        votes: Votes of the children, stored or recomputed by the kernels of a backend.
        total_presence: (N, 1), sum of the presences in each window; those of the moments are
            relative to it, since sums of tiny ones would underflow.
        average_mass: Number of children per parent, of children that have a parent.
        types: P, parent types.

    Args:
        routing: Name of the routing, for error messages.
        poses: (B, H, W, C, R, D) of the children: matrices of 4 x 4, or rows.
        presences: (B, H, W, C) of the children.
        weights: (KH, KW, C, P, D, D), the transformation of each pair of child and parent type.
        parameters: Further parameters of the routing.
        stride: Step of the window; without padding.
        offsets: (KH, KW, R, D), added to the votes from each position of the window; or
            (KH, KW, C, P, R, D), to those of each pair.
        backend: Implementation, see `capsbench.capsules.backends`; vector poses, R = 1, and
            offsets of pairs need the textbook one.

    Raises:
        UserError: No window fits into the map, or the backend cannot run here.
    """

    def __init__(
        self,
        routing: str,
        poses: Tensor,
        presences: Tensor,
        weights: Tensor,
        *parameters: Tensor,
        stride: int,
        offsets: Tensor | None,
        backend: Backend,
    ) -> None:
        kernel, self.types = (weights.shape[0], weights.shape[1]), weights.shape[3]
        self.size = presences.shape[1], presences.shape[2]
        self.stride = stride
        if self.size[0] < kernel[0] or self.size[1] < kernel[1]:
            raise UserError(
                f"{routing} needs a map of at least {kernel[0]} x {kernel[1]} positions, its "
                f"window; got {self.size[0]} x {self.size[1]}"
            )
        patches = windows(poses, kernel, stride)
        self.grid = patches.shape[:6]  # (B, H', W', KH, KW, C)
        patches = patches.flatten(3, 5).flatten(0, 2)
        raw = windows(presences, kernel, stride).flatten(3, 5).flatten(0, 2)
        raw = raw + (LEAST_PRESENCE - raw.sum(dim=-1, keepdim=True)).clamp_min(0)
        self.total_presence = raw.sum(dim=-1, keepdim=True)
        self._presences = raw / self.total_presence
        if offsets is None:
            offsets = patches.new_zeros(*kernel, *patches.shape[-2:])
        of_pairs = offsets.dim() == 6
        if not of_pairs:
            offsets = offsets[:, :, None].expand(-1, -1, self.grid[5], -1, -1)
        offsets = offsets.flatten(0, 2)
        transforms = weights.flatten(0, 2)
        width = 16 * self.types
        tensors = (poses, presences, weights, *parameters)
        implementation = choose(backend, tensors, self._presences.numel() * width, width)
        if of_pairs or patches.shape[-2:] != (4, 4):
            if backend not in ("auto", "textbook"):
                what = "offsets of pairs" if of_pairs else "vector poses"
                raise UserError(f"{what} need the routing backend 'textbook'; got '{backend}'")
            implementation = "textbook"
        self.votes: Votes
        if implementation == "textbook":
            self.votes = StoredVotes(patches, transforms, offsets)
        else:
            passes = kernels("em", implementation)
            self.votes = KernelVotes(passes, patches, transforms, offsets, self._presences)
        covered = num_covered_positions(self.size, kernel, stride) * self.grid[5]
        self.average_mass = covered / (math.prod(self.grid[1:3]) * self.types)

    def uniform(self, *, among_positions: bool) -> Assignments:
        """Return equal assignments to all parents of a child (article, eq. 20).

        Args:
            among_positions: Divide a child among the parents of all positions, not among the types
                of each position separately.
        """
        totals = self.total_presence.new_full((1, *self.grid[1:5], 1), math.log(self.types))
        if among_positions:
            totals = _log_total(totals, self.size, self.stride)
        totals = totals.expand(self.grid).reshape(self._presences.shape)
        return Assignments(None, totals, self._presences)

    def assign(self, mean: Tensor, log_variance: Tensor, base: Tensor) -> Assignments:
        """Assign each child to the parents of all positions by their densities (eq. 28-29).

        Args:
            mean: (N, P, R, D), relative to the centre of the votes.
            log_variance: (N, P, R, D).
            base: (N, P), added to the log-densities.
        """
        log_weights, log_sums = self.votes.log_densities(mean, log_variance, base)
        log_totals = _log_total(log_sums.view(self.grid), self.size, self.stride)
        return Assignments(log_weights, log_totals.reshape(log_sums.shape), self._presences)

    def moments(self, assignments: Assignments) -> MixtureMoments:
        """Return the mass of each parent, and mean and variance of its votes (eq. 21-22).

        Votes are weighted by assignments and by the presences of the children; means are relative
        to the centre.
        """
        moments = self.votes.moments(assignments)
        return moments._replace(mass=moments.mass * self.total_presence)

    def on_map(self, values: Tensor) -> Tensor:
        """Return values (N, ...) as (B, H', W', ...)."""
        return values.unflatten(0, self.grid[:3])

    def shares(self, assignments: Assignments) -> Tensor:
        """Return assignments as (B, H', W', P, KH, KW, C)."""
        return self.on_map(assignments.shares(self.types).mT).unflatten(-1, self.grid[3:])

    @property
    def presences(self) -> Tensor:
        """(N, I), presences of the children in each window."""
        return self._presences * self.total_presence


def _log_total(sums: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Return the log of each child's sum over all its windows, for each of these windows.

    Args:
        sums: (B, H', W', KH, KW, C), logs of the terms of each window.
        size: (H, W) of the map of children.
        stride: Step of the window.

    Returns:
        (B, H', W', KH, KW, C).
    """
    batch, height, width, *kernel, channels = sums.shape
    if (height, width) == (1, 1):
        return sums
    largest = sums.new_full((batch, *size, channels), -torch.inf)
    for y in range(kernel[0]):
        for x in range(kernel[1]):
            region = largest[
                :,
                y : y + stride * (height - 1) + 1 : stride,
                x : x + stride * (width - 1) + 1 : stride,
            ]
            region.copy_(region.maximum(sums.detach()[:, :, :, y, x]))
    window = kernel[0], kernel[1]
    largest = windows(largest, window, stride)
    total = sum_over_windows((sums - largest).exp(), size, stride)
    return largest + windows(total, window, stride).log()
