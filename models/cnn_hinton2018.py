"""The baseline CNN of Hinton, Sabour and Frosst (2018)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor

from capsbench.arguments import Positive
from capsbench.contracts import ImageShape, Prediction
from capsbench.models._cnn import POOL, Block, DropoutRate, Padding, PlainCNN, conv_window
from capsbench.models._standardize import STANDARDIZED, standardize
from capsbench.representations import Basis
from capsbench.viewpoint.views import Views


class CNNHinton2018(PlainCNN):
    """Baseline CNN of Hinton, Sabour and Frosst (2018, section 5).

    Two 5 x 5 convolutions, each followed by a ReLU and 2 x 2 max-pooling, and one hidden layer with
    dropout before the softmax. With padding it has 4,253,349 parameters for 32 x 32 images of two
    channels and five classes, the paper's 4.2 million; without padding 1,697,445.

    The paper states neither the padding, which follows from the count, nor the dropout rate; 0.5 is
    our choice. As in the paper's capsule network, images are standardised to mean 0 and variance 1.

    Args:
        image_shape: (C, H, W) of the images, at least 5 pixels high and wide with padding, 13
            without.
        num_classes: K, the number of classes.
        padding: Padding of the convolutions, ``same`` or ``valid``.
        channels: Channels of each convolution.
        hidden: Units of the fully connected hidden layer.
        dropout: Dropout rate of the hidden layer.
    """

    source: ClassVar[str] = (
        "Hinton, Sabour, Frosst, 'Matrix Capsules with EM Routing' (ICLR 2018), the baseline"
    )
    shift_basis: ClassVar[Basis] = "claimed"
    shift_source: ClassVar[str] = STANDARDIZED

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        padding: Padding = "same",
        channels: tuple[Positive, Positive] = (32, 64),
        hidden: Positive = 1024,
        dropout: DropoutRate = 0.5,
    ) -> None:
        super().__init__(
            name="cnn-hinton2018",
            image_shape=image_shape,
            num_classes=num_classes,
            blocks=[Block(number, conv_window(5, padding), POOL) for number in channels],
            hidden=[hidden],
            dropout=dropout,
        )

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        return super().forward(standardize(images), views)
