"""A small CNN that sees the coordinates of pixels, after Liu et al. (2018)."""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from capsbench.models.cnn_small import CNNSmall
from capsbench.representations import Basis


class CNNCoordConv(CNNSmall):
    """The CNN of `CNNSmall` with two more channels of the image: the coordinates of each pixel.

    A convolution can then learn to treat places differently, from wholly equivariant to shifts to
    wholly bound to the place (Liu et al. 2018, section 3). Maps are therefore not equivariant to
    shifts by construction.

    Args:
        image_shape: (C, H, W) of the images, at least 8 pixels high and wide.
        num_classes: K, the number of classes.
        width: Channels of the first convolution.
        hidden: Units of the fully connected hidden layer.
    """

    source: ClassVar[str] = (
        "Liu et al., 'An Intriguing Failing of Convolutional Neural Networks and the CoordConv "
        "Solution' (NeurIPS 2018), in a network of our own sizes"
    )
    shift_basis: ClassVar[Basis] = "claimed"
    shift_source: ClassVar[str] = "Liu et al. (2018), section 3: it can be learned"
    name: ClassVar[str] = "cnn-coordconv"
    front_channels: ClassVar[int] = 2

    def make_front(self) -> nn.Module:
        """Return the module that appends coordinates."""
        return Coordinates()


class Coordinates(nn.Module):
    """Append the coordinates of each pixel to the channels, from -1 to 1, as in the paper."""

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to (B, C + 2, H, W): x to the right, then y downwards."""
        height, width = images.shape[-2:]
        x, y = (
            torch.linspace(-1, 1, size, dtype=images.dtype, device=images.device)
            for size in (width, height)
        )
        x, y = x.expand(height, width), y[:, None].expand(height, width)
        return torch.cat([images, torch.stack([x, y]).expand(len(images), -1, -1, -1)], dim=1)
