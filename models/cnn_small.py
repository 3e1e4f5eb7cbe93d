"""A small max-pooling CNN, for comparisons at equal numbers of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.arguments import Positive
from capsbench.contracts import (
    Batch,
    ImageShape,
    LayerOfInterest,
    Model,
    Prediction,
    one_hot,
    require_size,
)
from capsbench.models._geometry import Window, places, smallest_size, stride_and_offset
from capsbench.viewpoint.views import Views

CONV, POOL = Window(3, padding=1), Window(2, stride=2)


class CNNSmall(Model):
    """Small CNN: three times convolution and max-pooling, then a hidden layer (after LeCun 1998).

    The convolutions are 3 x 3 with padding and have ``width``, twice and four times ``width``
    channels; each is followed by a ReLU and 2 x 2 max-pooling. The loss is the cross-entropy, with
    equal shares where an image holds several objects.

    Args:
        image_shape: (C, H, W) of the images, at least 8 pixels high and wide.
        num_classes: K.
        width: Channels of the first convolution.
        hidden: Units of the fully connected hidden layer.
    """

    source: ClassVar[str] = (
        "LeCun et al., 'Gradient-Based Learning Applied to Document Recognition' (1998), with ReLU "
        "and max-pooling; sizes of our own"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        width: Positive = 32,
        hidden: Positive = 128,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        windows = 3 * [CONV, POOL]
        require_size("cnn-small", image_shape, smallest_size(windows))
        channels, height, rows_width = image_shape
        self.block1 = _block(channels, width)
        self.block2 = _block(width, 2 * width)
        self.block3 = _block(2 * width, 4 * width)
        area = places(height, windows) * places(rows_width, windows)
        self.hidden = nn.Sequential(nn.Flatten(), nn.Linear(4 * width * area, hidden), nn.ReLU())
        self.classes = nn.Linear(hidden, num_classes)

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        features = self.block3(self.block2(self.block1(images)))
        return Prediction(scores=self.classes(self.hidden(features)))

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Cross-entropy, averaged over the batch."""
        targets = one_hot(batch.targets, self.num_classes)
        shares = targets / targets.sum(dim=1, keepdim=True)
        return F.cross_entropy(prediction.scores.float(), shares)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """The map after each block, and the hidden layer."""
        layers = {}
        for block in (1, 2, 3):
            stride, offset = stride_and_offset(block * [CONV, POOL])
            layers[f"block {block}"] = LayerOfInterest(
                f"block{block}", "map", stride=stride, offset=offset
            )
        return {**layers, "hidden": LayerOfInterest("hidden", "vector")}


def _block(channels: int, width: int) -> nn.Sequential:
    kernel, stride, padding = CONV
    return nn.Sequential(
        nn.Conv2d(channels, width, kernel, stride, padding),
        nn.ReLU(),
        nn.MaxPool2d(POOL.kernel, POOL.stride),
    )
