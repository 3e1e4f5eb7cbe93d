"""A small max-pooling CNN, for comparisons at equal numbers of parameters."""

from __future__ import annotations

from typing import ClassVar

from torch import nn

from capsbench.arguments import Positive
from capsbench.contracts import ImageShape
from capsbench.models._cnn import Block, PlainCNN
from capsbench.models._geometry import LayerWindow


class CNNSmall(PlainCNN):
    """Small CNN: three times convolution and max-pooling, then a hidden layer (after LeCun 1998).

    The convolutions are 3 x 3 with padding and have ``width``, twice and four times ``width``
    channels; each is followed by a ReLU and 2 x 2 max-pooling. The loss is the cross-entropy, with
    equal shares if an image has several objects.

    Args:
        image_shape: (C, H, W) of the images, at least 8 pixels high and wide.
        num_classes: K, the number of classes.
        width: Channels of the first convolution.
        hidden: Units of the fully connected hidden layer.
    """

    source: ClassVar[str] = (
        "LeCun et al., 'Gradient-Based Learning Applied to Document Recognition' (1998), with ReLU "
        "and max-pooling; sizes of our own"
    )
    name: ClassVar[str] = "cnn-small"
    blurred: ClassVar[bool] = False
    front_channels: ClassVar[int] = 0

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        width: Positive = 32,
        hidden: Positive = 128,
    ) -> None:
        super().__init__(
            name=self.name,
            image_shape=image_shape,
            num_classes=num_classes,
            blocks=small_blocks(width, blurred=self.blurred),
            hidden=[hidden],
            front=self.make_front(),
            front_channels=self.front_channels,
        )

    def make_front(self) -> nn.Module | None:
        """Return a module before the first block, in variants that have one."""
        return None


def small_blocks(width: int, *, blurred: bool = False) -> list[Block]:
    """Return the three blocks of `CNNSmall`, with max-pooling or with blurred max-pooling."""
    conv, pool = LayerWindow(3, padding=1), LayerWindow(2, stride=2)
    return [Block(width * factor, conv, pool, blurred) for factor in (1, 2, 4)]
