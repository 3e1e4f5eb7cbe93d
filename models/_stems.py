"""Stems of capsule networks: the layers between the image and the primary capsules."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from capsbench.capsules.convolution import Conv2d
from capsbench.models._geometry import LayerWindow
from capsbench.models.resnet20 import CONV, HALVING, ResidualBlock, normalised_conv


class ConvStem(nn.Sequential):
    """One convolution without padding, and a ReLU: the stem of Sabour et al. (2017).

    Args:
        in_channels: Channels of the image.
        channels: Channels of the map.
        kernel: Width of the window.
        stride: Step of the window.
    """

    def __init__(self, in_channels: int, *, channels: int, kernel: int, stride: int) -> None:
        super().__init__(Conv2d(in_channels, channels, kernel, stride), nn.ReLU())
        self.windows: Sequence[LayerWindow] = [LayerWindow(kernel, stride)]
        self.channels = channels


class ResidualStem(nn.Module):
    """Six 3 x 3 convolutions with batch norm, of which four are two residual blocks.

    It has the convolutions, and so the 143,664 parameters for grey images and a width of 16, of the
    plain network that Hahn, Pyeon and Kim (2019) compare routings on; shortcuts have no parameters.

    Args:
        in_channels: Channels of the image.
        width: Channels of the first convolution; the last one has eight times as many.
    """

    def __init__(self, in_channels: int, *, width: int) -> None:
        super().__init__()
        self.channels = 8 * width
        self.windows: Sequence[LayerWindow] = [CONV, HALVING, CONV, HALVING, CONV, HALVING]
        self.layers = nn.Sequential(
            *normalised_conv(in_channels, width, CONV),
            nn.ReLU(),
            ResidualBlock(width, 2 * width, first=HALVING),
            ResidualBlock(2 * width, 4 * width, first=HALVING),
            *normalised_conv(4 * width, 8 * width, HALVING),
            nn.ReLU(),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to (B, 8 width, H', W'), an eighth as high and wide."""
        features: Tensor = self.layers(images)
        return features
