"""A linear classifier on the stem of a capsule network."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn

from capsbench.arguments import Positive
from capsbench.contracts import ImageShape, LayerOfInterest, Prediction, require_size
from capsbench.models._cnn import SequentialClassifier, feature_map
from capsbench.models._geometry import smallest_input
from capsbench.models._standardize import STANDARDIZED, standardize
from capsbench.models._stems import StemName, make_stem
from capsbench.viewpoint.views import Views


class LinearStem(SequentialClassifier):
    """Linear classifier on a capsule network's stem, which is learned too.

    With the arguments of the capsule network it shows how much of the accuracy the stem reaches
    without any capsule. The defaults are the stem of ``capsnet-em``, which standardises each image;
    ``capsnet-dr`` does not, and has 256 channels, a kernel of 9 and a stride of 1. That of
    ``capsnet`` is ``residual`` with 16 channels, not standardised. With ``pooled`` the classifier
    sees the mean of the map over its positions: 144,954 parameters on that stem, as many as in the
    averaging network of Hahn et al. (2019), which has no shortcuts. The loss is the cross-entropy,
    with equal shares if an image has several objects.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes.
        stem: ``conv``, ``residual`` or ``timm:NAME``, as of ``capsnet``.
        channels: Channels of the first convolution of the first two.
        kernel: Width of the window of ``conv``, without padding.
        stride: Step of that window.
        standardized: Standardise each image to mean 0 and variance 1 first.
        pooled: Average the map over its positions.
    """

    family: ClassVar[str] = "linear"
    source: ClassVar[str] = (
        "our own control; the stems of Sabour et al. (2017), Hinton et al. (2018) and Hahn et al. "
        "(2019)"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        stem: StemName = "conv",
        channels: Positive = 32,
        kernel: Positive = 5,
        stride: Positive = 2,
        standardized: bool = True,
        pooled: bool = False,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.standardized = standardized
        self.stem = make_stem(stem, image_shape, channels=channels, kernel=kernel, stride=stride)
        require_size("linear-stem", image_shape, smallest_input(self.stem.windows))
        positions = 1 if pooled else math.prod(self.stem.size(*image_shape[1:]))
        self.pooling = nn.AdaptiveAvgPool2d(1) if pooled else nn.Identity()
        self.classes = nn.Sequential(
            nn.Flatten(), nn.Linear(self.stem.channels * positions, num_classes)
        )

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        return super().forward(standardize(images) if self.standardized else images, views)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the map of the stem."""
        if not self.standardized or not self.stem.moves:
            return {"stem": self.stem.layer("stem")}
        windows = self.stem.windows
        return {"stem": feature_map("stem", windows, shift_basis="claimed", source=STANDARDIZED)}
