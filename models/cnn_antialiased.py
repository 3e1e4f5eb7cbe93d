"""A small CNN with anti-aliased max-pooling, after Zhang (2019)."""

from __future__ import annotations

from typing import ClassVar

from capsbench.models.cnn_small import CNNSmall


class CNNAntialiased(CNNSmall):
    """The CNN of `CNNSmall` whose max-pooling blurs its maxima before it subsamples them.

    Max-pooling of 2 x 2 and stride 2 becomes the maximum of every 2 x 2 positions, a binomial
    filter of 3 x 3, and every second position of that (Zhang 2019, section 3.2). Parameters are
    those of `CNNSmall`. Its map changes less abruptly as the image moves by less than a stride.

    Args:
        image_shape: (C, H, W) of the images, at least 16 pixels high and wide.
        num_classes: K, the number of classes.
        width: Channels of the first convolution.
        hidden: Units of the fully connected hidden layer.
    """

    source: ClassVar[str] = (
        "Zhang, 'Making Convolutional Networks Shift-Invariant Again' (ICML 2019), MaxBlurPool; "
        "sizes of our own"
    )
    name: ClassVar[str] = "cnn-antialiased"
    blurred: ClassVar[bool] = True
