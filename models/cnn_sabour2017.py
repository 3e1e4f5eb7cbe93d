"""The baseline CNN of the text of Sabour, Frosst and Hinton (2017)."""

from __future__ import annotations

from typing import ClassVar

from capsbench.arguments import Positive
from capsbench.contracts import ImageShape
from capsbench.models._cnn import Block, DropoutRate, Padding, PlainCNN, conv_window


class CNNSabour2017(PlainCNN):
    """Baseline CNN of the text of Sabour, Frosst and Hinton (2017, section 5).

    Three 5 x 5 convolutions of stride 1 without pooling, and two fully connected layers, the last
    of them with dropout before the softmax. It has 35,445,522 parameters, the paper's 35.4 million,
    for grey images of ten classes if the last map is 28 x 28: with padding on 28 x 28 images,
    without padding on 40 x 40 ones. Without padding on 28 x 28 images there are 13,277,970.

    The paper states neither the padding, which follows from the count, nor the dropout rate nor the
    nonlinearity; 0.5 and ReLU are our choice. The paper trained with Adam on digits shifted by up
    to two pixels; these are part of the recipe and of the data's views.

    Args:
        image_shape: (C, H, W) of the images, at least 3 pixels high and wide with padding, 13
            without.
        num_classes: K, the number of classes.
        padding: Padding of the convolutions, ``same`` or ``valid``.
        channels: Channels of each convolution.
        hidden: Units of each fully connected hidden layer.
        dropout: Dropout rate of the last hidden layer.
    """

    source: ClassVar[str] = (
        "Sabour, Frosst, Hinton, 'Dynamic Routing Between Capsules' (NIPS 2017), the text's "
        "baseline"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        padding: Padding = "same",
        channels: tuple[Positive, Positive, Positive] = (256, 256, 128),
        hidden: tuple[Positive, Positive] = (328, 192),
        dropout: DropoutRate = 0.5,
    ) -> None:
        super().__init__(
            name="cnn-sabour2017",
            image_shape=image_shape,
            num_classes=num_classes,
            blocks=[Block(number, conv_window(5, padding)) for number in channels],
            hidden=hidden,
            dropout=dropout,
        )
