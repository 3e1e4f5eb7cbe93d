"""ResNet-20 for small images of He, Zhang, Ren and Sun (2016)."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import chain
from typing import ClassVar

from torch import Tensor, nn
from torch.nn import functional as F

from capsbench.arguments import Positive
from capsbench.contracts import ImageShape, LayerOfInterest, require_size
from capsbench.models._cnn import SequentialClassifier, feature_map
from capsbench.models._geometry import LayerWindow, smallest_input

CONV, HALVING = LayerWindow(3, padding=1), LayerWindow(3, stride=2, padding=1)


class ResNet20(SequentialClassifier):
    """Residual network for small images (He et al. 2016, section 4.2).

    A convolution, three stages of residual blocks, global average pooling, and a softmax. A block
    has two 3 x 3 convolutions with batch norm. The second and third stage halve the map and double
    the channels. Shortcuts have no parameters (option A), as the paper's for small images. It has
    269,722 parameters for 32 x 32 colour images of ten classes, the paper's 0.27 million: 267,696
    in the convolutions, 1,376 in batch norm, 650 in the last layer. Projections in the shortcuts
    that widen (option B) would make it 272,474.

    Batch norm depends on the whole batch in training, and on each image alone in evaluation mode.
    The paper subtracts the training set's mean image. That is part of the data and left out here;
    the first batch norm removes the mean of each channel.

    Args:
        image_shape: (C, H, W) of the images, at least 5 pixels high and wide.
        num_classes: K, the number of classes.
        width: Channels of the first stage.
        blocks: n, residual blocks of each stage; the network has 6 n + 2 layers, here 20.
    """

    source: ClassVar[str] = (
        "He, Zhang, Ren, Sun, 'Deep Residual Learning for Image Recognition' (CVPR 2016), the "
        "20-layer network for CIFAR-10"
    )

    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        width: Positive = 16,
        blocks: Positive = 3,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.windows = [[CONV]]
        self.windows += [[first, *(2 * blocks - 1) * [CONV]] for first in (CONV, HALVING, HALVING)]
        require_size("resnet20", image_shape, smallest_input(list(chain(*self.windows))))
        self.conv = nn.Sequential(*normalised_conv(image_shape[0], width, CONV), nn.ReLU())
        self.stage1 = _stage(width, width, blocks, CONV)
        self.stage2 = _stage(width, 2 * width, blocks, HALVING)
        self.stage3 = _stage(2 * width, 4 * width, blocks, HALVING)
        self.average = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        self.classes = nn.Linear(4 * width, num_classes)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the maps after the convolution and after each stage, and their average."""
        layers = {}
        modules = {"conv": "conv", "stage 1": "stage1", "stage 2": "stage2", "stage 3": "stage3"}
        for count, (name, module) in enumerate(modules.items(), start=1):
            layers[name] = feature_map(module, list(chain(*self.windows[:count])))
        return {**layers, "average": LayerOfInterest("average", "vector")}


class ResidualBlock(nn.Module):
    """Two convolutions with batch norm, added to the input (He et al. 2016, figure 2).

    Args:
        in_channels: Input channels.
        channels: Output channels, at least as many.
        first: Window of the first convolution; its stride is the block's.
    """

    def __init__(self, in_channels: int, channels: int, *, first: LayerWindow) -> None:
        super().__init__()
        self.residual = nn.Sequential(
            *normalised_conv(in_channels, channels, first),
            nn.ReLU(),
            *normalised_conv(channels, channels, CONV),
        )
        self.stride = first.stride
        self.new_channels = channels - in_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, D, H, W) to (B, channels, H', W'), subsampled by the stride."""
        # Option A: the shortcut subsamples positions and fills new channels with zeros.
        shortcut = x[:, :, :: self.stride, :: self.stride]
        shortcut = F.pad(shortcut, (0, 0, 0, 0, 0, self.new_channels))
        return F.relu(shortcut + self.residual(x))


def _stage(in_channels: int, channels: int, blocks: int, first: LayerWindow) -> nn.Sequential:
    """Return residual blocks; the first one may halve the map."""
    rest = [ResidualBlock(channels, channels, first=CONV) for _ in range(blocks - 1)]
    return nn.Sequential(ResidualBlock(in_channels, channels, first=first), *rest)


def normalised_conv(in_channels: int, channels: int, window: LayerWindow) -> list[nn.Module]:
    """Return a convolution, initialised for ReLUs (He et al. 2015), and batch norm with bias."""
    conv = nn.Conv2d(
        in_channels, channels, window.kernel, window.stride, window.padding, bias=False
    )
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return [conv, nn.BatchNorm2d(channels)]
