"""Reconstruction of an image from the poses of its class capsules."""

from __future__ import annotations

import math
from collections.abc import Sequence

from torch import Tensor, nn

from capsbench.capsules.losses import batch_mean
from capsbench.capsules.precision import full_precision

# Weights of the sum of squared pixel errors, added to a margin loss that is summed over the
# classes. Weight in the text (Sabour 2017, 4.1):
RECONSTRUCTION_WEIGHT = 0.0005
# Equivalent weight of the authors' code, per class. The code adds the error times 0.0005 to a
# margin loss that is halved and averaged over the K classes: 0.0005 / (0.5 / K).
RECONSTRUCTION_WEIGHT_CODE = 0.001


class ClassConditionalDecoder(nn.Module):
    """Fully connected decoder that sees only the poses of given classes (Sabour 2017, figure 2).

    Args:
        num_classes: K, the number of classes.
        pose_dim: D, elements of a class capsule's pose.
        image_shape: (C, H, W).
        hidden: Widths of the hidden layers.
    """

    def __init__(
        self,
        *,
        num_classes: int,
        pose_dim: int,
        image_shape: tuple[int, int, int],
        hidden: Sequence[int] = (512, 1024),
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        width = num_classes * pose_dim
        for units in hidden:
            layers += [nn.Linear(width, units), nn.ReLU()]
            width = units
        layers += [nn.Linear(width, math.prod(image_shape)), nn.Sigmoid()]
        self.layers = nn.Sequential(*layers)
        self.image_shape = image_shape

    def forward(self, poses: Tensor, classes: Tensor) -> Tensor:
        """Draw the image.

        Args:
            poses: (B, K, ...), poses of all class capsules.
            classes: (B, K), 1 for the classes to draw; the poses of the others are set to zero.

        Returns:
            (B, C, H, W), in [0, 1].
        """
        masked = (poses.flatten(start_dim=2) * classes[..., None]).flatten(start_dim=1)
        # Routing returns float32; a decoder in half precision needs its own dtype.
        weights = next(self.parameters())
        image: Tensor = self.layers(masked.to(weights.dtype))
        return image.unflatten(1, self.image_shape)


@full_precision
def reconstruction_loss(
    reconstruction: Tensor, images: Tensor, *, weight: float = RECONSTRUCTION_WEIGHT
) -> Tensor:
    """Compute the weighted sum of squared pixel errors, averaged over the batch (Sabour 2017, 4.1).

    Args:
        reconstruction: (B, C, H, W).
        images: (B, C, H, W).
        weight: A small value, so that the margin loss dominates.

    Returns:
        Scalar.
    """
    return weight * batch_mean((reconstruction - images).square().sum(dim=(1, 2, 3)))
