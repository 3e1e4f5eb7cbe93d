"""Stems of capsule networks: the layers between the image and the primary capsules."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from capsbench.capsules.convolution import Conv2d
from capsbench.contracts import ImageShape, LayerOfInterest
from capsbench.errors import UserError
from capsbench.models._cnn import feature_map
from capsbench.models._geometry import LayerWindow, output_size
from capsbench.models.resnet20 import CONV, HALVING, ResidualBlock, normalised_conv
from capsbench.profiling.evaluation_mode import evaluation_mode
from capsbench.wrapping.timm_models import require_timm

StemName = Annotated[str, Field(pattern=r"^(conv|residual|timm:.+)$")]

DEEPEST = 8  # pixels per position of a timm network's map, as of the residual stem


class Stem(nn.Module):
    """Base class of stems.

    Attributes:
        channels: Channels of the map.
        windows: Windows of the layers.
        moves: The map moves with the image by whole strides, by construction.
    """

    channels: int
    windows: Sequence[LayerWindow]
    moves: ClassVar[bool] = True

    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the map of an image."""
        return output_size(height, self.windows), output_size(width, self.windows)

    def layer(self, path: str) -> LayerOfInterest:
        """Return the map, given the dotted path of the stem in a model."""
        layer = feature_map(path, self.windows)
        return layer if self.moves else replace(layer, transformation=None)


def make_stem(
    name: str, image_shape: ImageShape, *, channels: int, kernel: int, stride: int
) -> Stem:
    """Return a stem by name.

    Args:
        name: ``conv``, ``residual`` or ``timm:NAME``, a network of timm.
        image_shape: (C, H, W) of the images.
        channels: Channels of the first convolution; of no effect on a network of timm.
        kernel: Width of the window of ``conv``.
        stride: Step of that window.

    Raises:
        UserError: timm is not installed or knows no such network, or its network does not fit.
    """
    if name == "conv":
        return ConvStem(image_shape[0], channels=channels, kernel=kernel, stride=stride)
    if name == "residual":
        return ResidualStem(image_shape[0], width=channels)
    return TimmStem(name.removeprefix("timm:"), image_shape)


class ConvStem(Stem, nn.Sequential):
    """One convolution without padding, and a ReLU: the stem of Sabour et al. (2017).

    Args:
        in_channels: Channels of the image.
        channels: Channels of the map.
        kernel: Width of the window.
        stride: Step of the window.
    """

    def __init__(self, in_channels: int, *, channels: int, kernel: int, stride: int) -> None:
        super().__init__(Conv2d(in_channels, channels, kernel, stride), nn.ReLU())
        self.windows = [LayerWindow(kernel, stride)]
        self.channels = channels


class ResidualStem(Stem):
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
        self.windows = [CONV, HALVING, CONV, HALVING, CONV, HALVING]
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


class TimmStem(Stem):
    """The map of a network of timm with at most eight pixels per position, without what follows it.

    Its layers are not known: its window is taken for a square as wide as its step.

    Args:
        name: Name in ``timm.list_models()``.
        image_shape: (C, H, W) of the images.
    """

    moves: ClassVar[bool] = False

    def __init__(self, name: str, image_shape: ImageShape) -> None:
        super().__init__()
        require_timm(name)
        import timm

        self.name = name
        self.image_channels = image_shape[0]
        create: Callable[..., Any] = partial(  # its networks have attributes of their own
            timm.create_model, name, features_only=True, in_chans=self.image_channels
        )
        try:
            maps = create().feature_info
        except RuntimeError as error:  # timm's word for it
            raise UserError(f"timm:{name} gives no maps between its layers: {error}") from error
        fine = [n for n, step in enumerate(maps.reduction()) if step <= DEEPEST]
        if not fine:
            raise UserError(
                f"a stem needs a map of at most {DEEPEST} pixels per position; those of "
                f"timm:{name} have {maps.reduction()}"
            )
        self.network = create(out_indices=(fine[-1],))
        self.channels = maps.channels()[fine[-1]]
        step = maps.reduction()[fine[-1]]
        self.windows = [LayerWindow(step, step)]

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) to (B, channels, H', W')."""
        features: Tensor = self.network(images)[0]
        return features

    @torch.no_grad()
    def size(self, height: int, width: int) -> tuple[int, int]:
        """Return height and width of the map, from a trial with a black image."""
        black = next(self.parameters()).new_zeros(1, self.image_channels, height, width)
        try:
            with evaluation_mode(self):
                features = self(black)
        except (RuntimeError, AssertionError) as error:  # timm's words for it
            raise UserError(
                f"timm:{self.name} gives no map for images of {height} x {width} pixels: {error}"
            ) from error
        return features.shape[2], features.shape[3]
