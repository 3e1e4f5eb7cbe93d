"""The baseline CNN for two overlapping digits of Sabour, Frosst and Hinton (2017)."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor
from torch.nn import functional as F

from capsbench.arguments import Positive
from capsbench.capsules.losses import batch_mean
from capsbench.capsules.precision import full_precision
from capsbench.contracts import Batch, ImageShape, Prediction, one_hot
from capsbench.models._cnn import POOL, Block, Padding, PlainCNN, conv_window


class CNNMultiMNIST(PlainCNN):
    """Baseline CNN for two overlapping digits of Sabour, Frosst and Hinton (2017, section 6).

    Convolutions of 9 x 9 and 5 x 5, each followed by a ReLU and 2 x 2 max-pooling, one hidden
    layer, and one sigmoid per class, so that an image can have several. With padding it has
    24,563,978 parameters for 36 x 36 grey images of ten classes, the paper's 24.56 million. The
    paper does not state the padding; it follows from the count.

    The loss is the binary cross-entropy, summed over classes, on the true labels. The released code
    halves the labels if an image has two digits, which limits their probabilities to 0.5.

    Args:
        image_shape: (C, H, W) of the images, at least 5 pixels high and wide with padding, 17
            without.
        num_classes: K, the number of classes.
        padding: Padding of the convolutions, ``same`` or ``valid``.
        channels: Channels of each convolution.
        hidden: Units of the fully connected hidden layer.
    """

    source: ClassVar[str] = (
        "Sabour, Frosst, Hinton, 'Dynamic Routing Between Capsules' (NIPS 2017), the MultiMNIST "
        "baseline"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        padding: Padding = "same",
        channels: tuple[Positive, Positive] = (512, 256),
        hidden: Positive = 1024,
    ) -> None:
        kernels = (9, 5)
        super().__init__(
            name="cnn-multimnist",
            image_shape=image_shape,
            num_classes=num_classes,
            blocks=[
                Block(number, conv_window(kernel, padding), POOL)
                for number, kernel in zip(channels, kernels, strict=True)
            ],
            hidden=[hidden],
        )

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Compute the binary cross-entropy, summed over classes, averaged over the batch."""
        return _binary_cross_entropy(prediction.scores, one_hot(batch.targets, self.num_classes))

    def logits(self, prediction: Prediction) -> Tensor:
        """Return the logarithms (B, K) of the sigmoids."""
        return F.logsigmoid(prediction.scores.float())


@full_precision
def _binary_cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    targets = targets.to(scores.dtype)
    losses = F.binary_cross_entropy_with_logits(scores, targets, reduction="none")
    return batch_mean(losses.sum(dim=1))
