"""Primary capsules: the lowest capsule layer, computed from the feature map of a convolution."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules, length, squash
from capsbench.capsules.convolution import Conv2d
from capsbench.capsules.precision import full_precision
from capsbench.capsules.relative_error import max_relative_error


class VectorPrimaryCapsules(nn.Module):
    """Primary capsules with vector poses (Sabour 2017, section 4): a squashed convolution.

    The authors' code sends the convolution through one routing iteration, as if it were the vote of
    a single capsule: it is multiplied by 1 / C for C types, before the bias is added.

    Args:
        in_channels: Channels of the feature map.
        types: C, capsule types at each position.
        dim: D, length of a pose vector.
        kernel: Width of the convolution's window, in positions of the feature map; no padding.
        stride: Step of the window.
        routed: Multiply the convolution by 1 / C, as in the authors' code.
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
        """Map features (B, F, H, W) to poses (B, H', W', C, D) and lengths (B, H', W', C)."""
        if self.routed:
            features = features / self.types  # scale the features, not the bias
        vectors = self.conv(features).permute(0, 2, 3, 1).unflatten(-1, (self.types, -1))
        poses = squash(vectors)
        return Capsules(poses, length(poses))

    @torch.no_grad()
    def check_presences(self, features: Tensor) -> float:
        """Check that the presences of features (B, F, H, W) are the pose lengths, at most one.

        Returns:
            The relative error against the lengths, clamped at one; about the rounding of the dtype.
        """
        poses, presences = self(features)
        lengths = torch.linalg.vector_norm(poses.double(), dim=-1)
        return max_relative_error(presences, lengths.clamp_max(1))


class MatrixPrimaryCapsules(nn.Module):
    """Primary capsules with a 4 x 4 pose and a presence (Hinton 2018, section 4).

    Both are 1 x 1 convolutions without bias. Poses can also be vectors of the same 16 elements.

    Args:
        in_channels: Channels of the feature map.
        types: C, capsule types at each position.
        presence_offset: Added to the presence logits; -1 in the authors' code.
        pose_shape: (4, 4), or (16,) for vectors.
        pose_gain: Standard deviation of the initial poses, about.
    """

    def __init__(
        self,
        in_channels: int,
        *,
        types: int,
        presence_offset: float = 0.0,
        pose_shape: tuple[int, ...] = (4, 4),
        pose_gain: float = 1.0,
    ) -> None:
        super().__init__()
        self.types = types
        self.pose_shape = pose_shape
        self.presence_offset = presence_offset
        self.pose = Conv2d(in_channels, types * 16, 1, bias=False)
        self.presence = Conv2d(in_channels, types, 1, bias=False)
        # The default initialisation of a convolution reduces the mean square of its input to a
        # third, a ReLU to half.
        nn.init.normal_(self.pose.weight, std=pose_gain * math.sqrt(6 / in_channels))

    def forward(self, features: Tensor) -> Capsules:
        """Map features (B, F, H, W) to poses (B, H, W, C, 4, 4) and presences (B, H, W, C)."""
        shape = (self.types, *self.pose_shape)
        poses = self.pose(features).permute(0, 2, 3, 1).unflatten(-1, shape)
        logits = self.presence(features) + self.presence_offset
        return Capsules(poses, _probabilities(logits).permute(0, 2, 3, 1))

    @torch.no_grad()
    def check_presences(self, features: Tensor) -> float:
        """Check that the presences of features (B, F, H, W) are probabilities.

        Returns:
            The distance to [0, 1], relative to the largest value; 0 if all are inside.
        """
        presences = self(features).presences
        return max_relative_error(presences, presences.clamp(0, 1))


@full_precision
def _probabilities(logits: Tensor) -> Tensor:
    """Apply a sigmoid in float32; in bfloat16 values above 0.998 round to 1, without gradient."""
    return logits.sigmoid()
