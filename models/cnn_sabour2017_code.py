"""The baseline CNN of the released code of Sabour, Frosst and Hinton (2017)."""

from __future__ import annotations

from typing import ClassVar

from capsbench.arguments import Positive
from capsbench.contracts import ImageShape
from capsbench.models._cnn import POOL, Block, Padding, PlainCNN, conv_window


class CNNSabour2017Code(PlainCNN):
    """Baseline CNN of the released code of Sabour, Frosst and Hinton (2017), not the text's.

    Two 5 x 5 convolutions, each followed by a ReLU and 2 x 2 max-pooling, and one hidden layer
    without dropout. Without padding, the code's default, it has 7,495,946 parameters for 28 x 28
    grey images of ten classes, and 16,146,698 for 40 x 40 ones, near the 13.5 million of the code's
    capsule network at that size. Pooling rounds odd sizes up, for either padding.

    The code's default loss for it is the margin loss on its logits; here it is the cross-entropy,
    as for the baseline in the text. Initial weights are the defaults of torch's layers.

    Args:
        image_shape: (C, H, W) of the images, at least 13 pixels high and wide without padding, 5
            with it.
        num_classes: K, the number of classes.
        padding: Padding of the convolutions, ``same`` or ``valid``.
        channels: Channels of each convolution.
        hidden: Units of the fully connected hidden layer.
    """

    source: ClassVar[str] = (
        "Sabour, Frosst, Hinton, 'Dynamic Routing Between Capsules' (NIPS 2017), the released "
        "code's baseline (conv_model.py)"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        padding: Padding = "valid",
        channels: tuple[Positive, Positive] = (512, 256),
        hidden: Positive = 1024,
    ) -> None:
        super().__init__(
            name="cnn-sabour2017-code",
            image_shape=image_shape,
            num_classes=num_classes,
            blocks=[Block(number, conv_window(5, padding), POOL) for number in channels],
            hidden=[hidden],
        )
