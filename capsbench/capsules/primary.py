"""Primary capsules: the first parts, read from the feature map of a convolution."""

from __future__ import annotations

import math

from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules, length, squash


class VectorPrimaryCapsules(nn.Module):
    """Primary capsules with vector poses (Sabour 2017, section 4): a convolution, squashed.

    Args:
        in_channels: Channels of the feature map.
        types: C, capsule types at each place.
        dim: D, length of a pose vector.
        kernel: Width of the convolution's window, in places of the feature map; no padding.
        stride: Step of the window.
    """

    def __init__(self, in_channels: int, *, types: int, dim: int, kernel: int, stride: int) -> None:
        super().__init__()
        self.types = types
        self.conv = nn.Conv2d(in_channels, types * dim, kernel, stride)

    def forward(self, features: Tensor) -> Capsules:
        """Features (B, F, H, W) to poses (B, H', W', C, D) and their lengths (B, H', W', C)."""
        vectors = self.conv(features).permute(0, 2, 3, 1).unflatten(-1, (self.types, -1))
        poses = squash(vectors)
        return Capsules(poses, length(poses))


class MatrixPrimaryCapsules(nn.Module):
    """Primary capsules with a 4x4 pose and a presence (Hinton 2018, section 4): 1x1, without bias.

    Args:
        in_channels: Channels of the feature map.
        types: C, capsule types at each place.
    """

    def __init__(self, in_channels: int, *, types: int) -> None:
        super().__init__()
        self.types = types
        self.pose = nn.Conv2d(in_channels, types * 16, 1, bias=False)
        self.presence = nn.Conv2d(in_channels, types, 1, bias=False)
        # For poses of about unit variance: the default initialisation of a convolution leaves a
        # third of its input's mean square, a ReLU half of that.
        nn.init.normal_(self.pose.weight, std=math.sqrt(6 / in_channels))

    def forward(self, features: Tensor) -> Capsules:
        """Features (B, F, H, W) to poses (B, H, W, C, 4, 4) and presences (B, H, W, C)."""
        poses = self.pose(features).permute(0, 2, 3, 1).unflatten(-1, (self.types, 4, 4))
        presences = self.presence(features).sigmoid().permute(0, 2, 3, 1)
        return Capsules(poses, presences)
