"""Group-equivariant CNNs on p4 and p4m, after Cohen and Welling (2016)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import ClassVar

import torch
from torch import Tensor, nn

from capsbench.arguments import Positive
from capsbench.capsules.relative_error import max_or_nan, max_relative_error
from capsbench.contracts import ImageShape, LayerOfInterest, require_size
from capsbench.models._cnn import SequentialClassifier, feature_map
from capsbench.models._geometry import LayerWindow, smallest_input
from capsbench.models._group_convolution import (
    PLANE,
    TURNS,
    LiftingConvolution,
    OrientationPooling,
    P4BatchNorm,
    P4Convolution,
)
from capsbench.models._pooling import MaxPooling, halving_window
from capsbench.representations import QUARTER_TURNS, Invariant, OrientationMap

CONV = LayerWindow(3, padding=1)


class CNNP4(SequentialClassifier):
    """CNN whose scores are invariant to quarter turns of the image (Cohen and Welling 2016).

    Three blocks of two p4 convolutions (3 x 3, padded) with batch norm and ReLU, max-pooling that
    halves the map after the first and second block, max-pooling over the four orientations, the
    average over all positions, and a softmax. The number of layers, batch norm and the orientation
    pooling at the end are similar to the paper's network for rotated MNIST. That network has ten
    features in each layer, no padding, and a 4 x 4 convolution at its end, so that it only fits
    images of one size.

    The invariance is exact for square images of any size, since pooling windows are three wide if a
    map has an odd size. Other images change their shape in a quarter turn. The maps of the blocks
    rotate with the image and permute their orientations; the map of the orientation pooling only
    rotates.

    Args:
        image_shape: (C, H, W) of the images, at least 7 pixels high and wide.
        num_classes: K, the number of classes.
        width: Features of the first block, each in four orientations; they double with each block.
    """

    source: ClassVar[str] = (
        "Cohen, Welling, 'Group Equivariant Convolutional Networks' (ICML 2016); any image size, "
        "sizes of our own"
    )

    name: ClassVar[str] = "cnn-p4"
    reflections: ClassVar[bool] = False

    def __init__(self, *, image_shape: ImageShape, num_classes: int, width: Positive = 8) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        # One wider than needed for an even side, so that every larger image fits, too.
        require_size(self.name, image_shape, smallest_input(2 * [CONV, CONV, halving_window(1)]))
        channels, height, _ = image_shape
        first, second = halving_window(height), halving_window(height // 2)
        self.windows = [[CONV, CONV, first], [CONV, CONV, second], [CONV, CONV]]
        self.block1 = nn.Sequential(*self._lifting(channels, width), *self._conv(width, width))
        self.block1.append(MaxPooling(first))
        self.block2 = nn.Sequential(*self._pair(width, 2 * width), MaxPooling(second))
        self.block3 = nn.Sequential(*self._pair(2 * width, 4 * width))
        self.orientations = OrientationPooling(8 if self.reflections else 4)
        self.average = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classes = nn.Linear(4 * width, num_classes)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the maps after each block and after orientation pooling, and the average.

        Their transformations under quarter turns are declared if images are square.
        """
        _, height, width = self.image_shape
        turns = QUARTER_TURNS if height == width else ()
        layers = {}
        for count in range(1, len(self.windows) + 1):
            below = list(chain(*self.windows[:count]))
            layers[f"block {count}"] = feature_map(
                f"block{count}", below, representation=OrientationMap, exact=turns
            )
        windows = list(chain(*self.windows))
        layers["orientations"] = feature_map("orientations", windows, exact=turns)
        average = LayerOfInterest("average", "vector", transformation=Invariant(exact=turns))
        return {**layers, "average": average}

    def check_turn_invariance(self, images: Tensor) -> float:
        """Check that the scores are invariant to quarter turns: f(T x) = f(x) (article, eq. 0).

        Args:
            images: (B, C, N, N), square, of the network's image size.

        Returns:
            The largest relative error over the three turns, about the rounding of the dtype.
        """
        with self._evaluating():
            expected, *rotated = (
                self(torch.rot90(images, turns, PLANE)).scores for turns in (0, *TURNS)
            )
        return max_or_nan(*(max_relative_error(scores, expected) for scores in rotated))

    def _lifting(self, channels: int, features: int) -> list[nn.Module]:
        """Return a convolution of the image, with batch norm and ReLU."""
        return _normalised(
            LiftingConvolution(channels, features, kernel=CONV.kernel, reflections=self.reflections)
        )

    def _conv(self, in_features: int, features: int) -> list[nn.Module]:
        """Return a convolution of a map, with batch norm and ReLU."""
        return _normalised(
            P4Convolution(in_features, features, kernel=CONV.kernel, reflections=self.reflections)
        )

    def _pair(self, in_features: int, features: int) -> list[nn.Module]:
        """Return two convolutions of maps, each with batch norm and ReLU."""
        return [*self._conv(in_features, features), *self._conv(features, features)]


class CNNP4M(CNNP4):
    """CNN whose scores are invariant to quarter turns and reflections (Cohen and Welling 2016).

    It is `CNNP4` with eight orientations of each feature: four turns, and four of the mirrored
    filter. With the same width it has twice the parameters, since filters see eight orientations of
    the map below. Digits that a reflection makes another digit, or none, are not told apart.

    Args:
        image_shape: (C, H, W) of the images, at least 7 pixels high and wide.
        num_classes: K, the number of classes.
        width: Features of the first block, each in eight orientations; they double with each block.
    """

    source: ClassVar[str] = (
        "Cohen, Welling, 'Group Equivariant Convolutional Networks' (ICML 2016), the group p4m; "
        "any image size, sizes of our own"
    )
    name: ClassVar[str] = "cnn-p4m"
    reflections: ClassVar[bool] = True

    def check_reflection_invariance(self, images: Tensor) -> float:
        """Check that the scores are invariant to reflections left to right (article, eq. 0).

        Args:
            images: (B, C, H, W), of the network's image size.

        Returns:
            The relative error, about the rounding of the dtype.
        """
        with self._evaluating():
            return max_relative_error(self(images.flip(-1)).scores, self(images).scores)


def _normalised(conv: LiftingConvolution | P4Convolution) -> list[nn.Module]:
    """Return a convolution, initialised for ReLUs (He et al. 2015), with batch norm and ReLU."""
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return [conv, P4BatchNorm(conv.out_channels), nn.ReLU()]
