"""Efficient-CapsNet of Mazzia, Salvetti and Chiaberge (2021)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import ClassVar

from torch import Tensor, nn

from capsbench.arguments import NonNegative, Positive
from capsbench.capsules.capsule import Capsules, exponential_squash, length
from capsbench.capsules.reconstruction import RECONSTRUCTION_WEIGHT
from capsbench.capsules.self_attention_routing import SelfAttentionRouting
from capsbench.contracts import ImageShape, LayerOfInterest, Prediction, require_size
from capsbench.errors import UserError
from capsbench.models._class_lengths import ClassLengths
from capsbench.models._cnn import feature_map
from capsbench.models._geometry import LayerWindow, output_size, smallest_input
from capsbench.representations import AFFINE, Invariant
from capsbench.viewpoint.views import Views

CLAIM = (
    "Mazzia, Salvetti, Chiaberge (2021), section 3: the length of a capsule is the probability "
    "that its entity exists"
)
WINDOWS = [LayerWindow(5), LayerWindow(3), LayerWindow(3), LayerWindow(3, stride=2)]


class EfficientCapsNet(ClassLengths):
    """Capsule network of few parameters, routed by self-attention (Mazzia et al. 2021).

    Four convolutions without padding, each with a ReLU and then batch norm; primary capsules that
    are a depthwise convolution of the whole map; and class capsules. It has 161,824 parameters for
    28 x 28 grey images of ten classes without the decoder, the paper's 161 thousand. The paper's
    networks for other sets have other convolutions.

    Batch norm has torch's constants. In the authors' library its statistics move by 1 % a step in
    place of 10 %, so that they follow after ten times as many steps, and its epsilon is 0.001.

    Args:
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes.
        channels: Channels of the four convolutions.
        primary_dim: Length of the pose vectors of primary capsules, a divisor of the last channels.
        class_dim: Length of those of class capsules.
        decoder: Widths of the decoder's hidden layers; empty for no decoder.
        reconstruction_weight: Weight of the sum of squared pixel errors; the authors' code has
            0.392 times their mean, which is the same for 28 x 28 pixels.

    Raises:
        UserError: The images are too small, or the last channels are no multiple of the length.
    """

    source: ClassVar[str] = (
        "Mazzia, Salvetti, Chiaberge, 'Efficient-CapsNet: Capsule Network with Self-Attention "
        "Routing' (Scientific Reports 2021), the network for MNIST"
    )
    name: ClassVar[str] = "efficient-capsnet"

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        channels: tuple[Positive, Positive, Positive, Positive] = (32, 64, 64, 128),
        primary_dim: Positive = 8,
        class_dim: Positive = 16,
        decoder: tuple[Positive, ...] = (512, 1024),
        reconstruction_weight: NonNegative = RECONSTRUCTION_WEIGHT,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        require_size(self.name, image_shape, smallest_input(WINDOWS))
        if channels[-1] % primary_dim:
            raise UserError(
                f"{self.name} divides its last channels into primary capsules; got {channels[-1]} "
                f"channels, no multiple of primary_dim {primary_dim}"
            )
        in_channels, height, width = image_shape
        for number, (below, above) in enumerate(pairwise((in_channels, *channels)), start=1):
            self.add_module(f"conv{number}", _convolution(below, above, WINDOWS[number - 1]))
        size = output_size(height, WINDOWS), output_size(width, WINDOWS)
        self.primary = DepthwisePrimaryCapsules(channels[-1], size, dim=primary_dim)
        self.classes = SelfAttentionRouting(
            num_children=channels[-1] // primary_dim,
            child_dim=primary_dim,
            num_parents=num_classes,
            parent_dim=class_dim,
        )
        self.add_decoder(class_dim, decoder, weight=reconstruction_weight)

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        features = images
        for number in range(1, len(WINDOWS) + 1):
            features = self.get_submodule(f"conv{number}")(features)
        return self.predict(*self.classes(self.primary(features).poses))

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the convolutions after batch norm, and the primary and class capsules.

        A primary capsule sees the whole map, so that nothing of it moves with the image. Lengths
        are claimed not to change. How poses change is stated nowhere.
        """
        layers = {
            f"conv {number}": feature_map(f"conv{number}", WINDOWS[:number])
            for number in range(1, len(WINDOWS) + 1)
        }
        still = Invariant(claimed=AFFINE, source=CLAIM)
        return {
            **layers,
            "primary poses": LayerOfInterest("primary", "pose", 0),
            "primary presences": LayerOfInterest("primary", "presence", 1, transformation=still),
            "class poses": LayerOfInterest("classes", "pose", 0),
            "class presences": LayerOfInterest("classes", "presence", 1, transformation=still),
        }


class DepthwisePrimaryCapsules(nn.Module):
    """Primary capsules whose elements are weighted sums of one channel each over the whole map.

    Args:
        channels: Channels of the map.
        size: Height and width of the map.
        dim: Length of a pose vector; consecutive channels are the elements of one capsule.
    """

    def __init__(self, channels: int, size: tuple[int, int], *, dim: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, size, groups=channels)
        self.dim = dim

    def forward(self, features: Tensor) -> Capsules:
        """Map features (B, F, H, W) to poses (B, F / D, D) and lengths (B, F / D)."""
        poses = exponential_squash(self.conv(features).flatten(1).unflatten(1, (-1, self.dim)))
        return Capsules(poses, length(poses))


def _convolution(in_channels: int, channels: int, window: LayerWindow) -> nn.Sequential:
    """Return a convolution, initialised for ReLUs (He et al. 2015), a ReLU and batch norm."""
    conv = nn.Conv2d(in_channels, channels, window.kernel, window.stride)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    bias = conv.get_parameter("bias")
    nn.init.zeros_(bias)
    return nn.Sequential(conv, nn.ReLU(), nn.BatchNorm2d(channels))
