"""Primary capsules: the first parts, read from the feature map of a convolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules, length, squash
from capsbench.capsules.convolution import Conv2d
from capsbench.capsules.deviation import deviation
from capsbench.capsules.precision import full_precision


class VectorPrimaryCapsules(nn.Module):
    """Primary capsules with vector poses (Sabour 2017, section 4): a convolution, squashed.

    The authors' code sends the convolution through one iteration of routing, as if it were the vote
    of a single capsule: each of the C types gets the share 1 / C of it, before the bias is added.

    Args:
        in_channels: Channels of the feature map.
        types: C, capsule types at each place.
        dim: D, length of a pose vector.
        kernel: Width of the convolution's window, in places of the feature map; no padding.
        stride: Step of the window.
        routed: Whether each type gets a share only, as in the authors' code.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        types: int,
        dim: int,
        kernel: int,
        stride: int,
        routed: bool = False,
    ) -> None:
        super().__init__()
        self.types = types
        self.routed = routed
        self.conv = Conv2d(in_channels, types * dim, kernel, stride)

    def forward(self, features: Tensor) -> Capsules:
        """Features (B, F, H, W) to poses (B, H', W', C, D) and their lengths (B, H', W', C)."""
        if self.routed:
            features = features / self.types  # a share of the features: the bias stays whole
        vectors = self.conv(features).permute(0, 2, 3, 1).unflatten(-1, (self.types, -1))
        poses = squash(vectors)
        return Capsules(poses, length(poses))

    @torch.no_grad()
    def check_presences(self, features: Tensor) -> float:
        """Are the presences of features (B, F, H, W) lengths of the poses, and none above one?

        Returns:
            How far they are from the lengths, cut at one; about the rounding of the dtype.
        """
        poses, presences = self(features)
        lengths = torch.linalg.vector_norm(poses.double(), dim=-1)
        return deviation(presences, lengths.clamp_max(1))


class MatrixPrimaryCapsules(nn.Module):
    """Primary capsules with a 4x4 pose and a presence (Hinton 2018, section 4): 1x1, without bias.

    Their poses may be vectors of 16 instead, which are the same numbers in a row.

    Args:
        in_channels: Channels of the feature map.
        types: C, capsule types at each place.
        presence_offset: Added to the presences' logits; -1 in the authors' code.
        pose_shape: (4, 4), or (16,) for vectors.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        types: int,
        presence_offset: float = 0.0,
        pose_shape: tuple[int, ...] = (4, 4),
    ) -> None:
        super().__init__()
        self.types = types
        self.pose_shape = pose_shape
        self.presence_offset = presence_offset
        self.pose = Conv2d(in_channels, types * 16, 1, bias=False)
        self.presence = Conv2d(in_channels, types, 1, bias=False)
        # For poses of about unit variance: the default initialisation of a convolution leaves a
        # third of its input's mean square, a ReLU half of that.
        nn.init.normal_(self.pose.weight, std=math.sqrt(6 / in_channels))

    def forward(self, features: Tensor) -> Capsules:
        """Features (B, F, H, W) to poses (B, H, W, C, 4, 4) and presences (B, H, W, C)."""
        shape = (self.types, *self.pose_shape)
        poses = self.pose(features).permute(0, 2, 3, 1).unflatten(-1, shape)
        logits = self.presence(features) + self.presence_offset
        return Capsules(poses, _probabilities(logits).permute(0, 2, 3, 1))

    @torch.no_grad()
    def check_presences(self, features: Tensor) -> float:
        """Are the presences of features (B, F, H, W) probabilities?

        Returns:
            How far they lie outside of [0, 1]; 0 where they do not.
        """
        presences = self(features).presences
        return deviation(presences, presences.clamp(0, 1))


@full_precision
def _probabilities(logits: Tensor) -> Tensor:
    """In bfloat16 a probability above 0.998 would be one, and learn no more."""
    return logits.sigmoid()
