"""A linear classifier on the first convolution of a capsule network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from capsbench.arguments import Positive
from capsbench.capsules.convolution import Conv2d
from capsbench.contracts import ImageShape, LayerOfInterest, Prediction, require_size
from capsbench.models._cnn import SequentialClassifier, feature_map
from capsbench.models._geometry import LayerWindow, output_size, smallest_input
from capsbench.models._standardize import STANDARDIZED, standardize
from capsbench.viewpoint.views import Views


class LinearStem(SequentialClassifier):
    """Linear classifier on a capsule network's stem: its first convolution and ReLU, learned too.

    With the arguments of the capsule network it shows how much of the accuracy the stem reaches
    without any capsule. The defaults are the stem of ``capsnet-em``, which standardises each image;
    ``capsnet-dr`` does not, and has 256 channels, a kernel of 9 and a stride of 1. The loss is the
    cross-entropy, with equal shares if an image has several objects.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes.
        channels: Channels of the convolution.
        kernel: Width of the convolution's window, without padding.
        stride: Step of the convolution's window.
        standardized: Standardise each image to mean 0 and variance 1 first.
    """

    source: ClassVar[str] = (
        "our own control; the first layers of Sabour et al. (2017) and Hinton et al. (2018)"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        channels: Positive = 32,
        kernel: Positive = 5,
        stride: Positive = 2,
        standardized: bool = True,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.window = LayerWindow(kernel, stride)
        self.standardized = standardized
        require_size("linear-stem", image_shape, smallest_input([self.window]))
        in_channels, height, width = image_shape
        area = output_size(height, [self.window]) * output_size(width, [self.window])
        self.stem = nn.Sequential(Conv2d(in_channels, channels, kernel, stride), nn.ReLU())
        self.classes = nn.Sequential(nn.Flatten(), nn.Linear(channels * area, num_classes))

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        return super().forward(standardize(images) if self.standardized else images, views)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the map after the ReLU."""
        if self.standardized:
            stem = feature_map("stem", [self.window], shift_basis="claimed", source=STANDARDIZED)
        else:
            stem = feature_map("stem", [self.window])
        return {"stem": stem}
