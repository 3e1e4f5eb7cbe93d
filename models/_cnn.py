"""Base classes of the convolutional networks: the loss, and blocks of convolution and pooling."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field
from torch import Tensor, nn

from capsbench.capsules.convolution import Conv2d
from capsbench.capsules.losses import cross_entropy
from capsbench.contracts import (
    Batch,
    ImageShape,
    LayerOfInterest,
    Model,
    Prediction,
    one_hot,
    require_size,
)
from capsbench.models._geometry import LayerWindow, output_size, smallest_input, stride_and_offset
from capsbench.models._pooling import Blur, MaxPooling, blur_window
from capsbench.representations import Basis, Declared, Representation, SpatialMap, whole_strides
from capsbench.viewpoint.views import Views

DropoutRate = Annotated[float, Field(ge=0, lt=1)]
Padding = Literal["same", "valid"]

# 2 x 2 max-pooling that includes the last row and column, as TensorFlow's 'SAME' pooling.
POOL = LayerWindow(2, stride=2, partial=True)


class SequentialClassifier(Model):
    """A network whose child modules are applied in sequence; it returns logits of a softmax.

    The loss is the cross-entropy, with equal shares if an image has several objects.
    """

    family: ClassVar[str] = "convolutions"

    def forward(self, images: Tensor, views: Views | None = None) -> Prediction:
        """Classify images (B, C, H, W) in [0, 1]."""
        features = images
        for child in self.children():
            features = child(features)
        return Prediction(scores=features)

    def loss(self, prediction: Prediction, batch: Batch, progress: float) -> Tensor:
        """Compute the cross-entropy, averaged over the batch."""
        return cross_entropy(prediction.scores, one_hot(batch.targets, self.num_classes))


class Block(NamedTuple):
    """A convolution with a ReLU, and max-pooling if the block has a pooling window.

    With ``blurred`` the maxima are taken at every position, and blurred before they are subsampled.
    """

    channels: int
    conv: LayerWindow
    pool: LayerWindow | None = None
    blurred: bool = False

    @property
    def windows(self) -> list[LayerWindow]:
        """The windows of the block, from the image upwards."""
        if self.pool is None:
            return [self.conv]
        if self.blurred:
            return [self.conv, self.pool._replace(stride=1), blur_window(self.pool.stride)]
        return [self.conv, self.pool]

    def build(self, in_channels: int) -> nn.Sequential:
        """Create the block as a module for maps with ``in_channels`` channels."""
        layers: list[nn.Module] = [
            Conv2d(
                in_channels, self.channels, self.conv.kernel, self.conv.stride, self.conv.padding
            ),
            nn.ReLU(),
        ]
        if self.pool and self.blurred:
            layers += [MaxPooling(self.pool._replace(stride=1)), Blur(self.pool.stride)]
        elif self.pool:
            layers.append(MaxPooling(self.pool))
        return nn.Sequential(*layers)


class PlainCNN(SequentialClassifier):
    """Blocks of convolution and max-pooling, then fully connected layers with ReLU, then classes.

    Attributes:
        shift_basis: Basis of the shifts of the maps, see `feature_map`.
        shift_source: Source of the shifts if they are a claim.

    Args:
        name: The model's name, for the error message.
        image_shape: (C, H, W) of the images.
        num_classes: K, the number of classes.
        blocks: The blocks, from the image upwards.
        hidden: Units of each fully connected hidden layer.
        dropout: Dropout rate of the last hidden layer.
        front: A module before the first block, that keeps height and width of the image.
        front_channels: Channels that it adds to those of the image.

    Raises:
        UserError: The images are too small.
    """

    shift_basis: ClassVar[Basis] = "by construction"
    shift_source: ClassVar[str] = ""

    def __init__(
        self,
        *,
        name: str,
        image_shape: ImageShape,
        num_classes: int,
        blocks: Sequence[Block],
        hidden: Sequence[int],
        dropout: float = 0.0,
        front: nn.Module | None = None,
        front_channels: int = 0,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.windows = [block.windows for block in blocks]
        windows = list(chain(*self.windows))
        require_size(name, image_shape, smallest_input(windows))
        units, height, width = image_shape
        if front is not None:
            self.front = front
            units += front_channels
        for number, block in enumerate(blocks, start=1):
            self.add_module(f"block{number}", block.build(units))
            units = block.channels
        units *= output_size(height, windows) * output_size(width, windows)
        layers: list[nn.Module] = [nn.Flatten()]
        for above in hidden:
            layers += [nn.Linear(units, above), nn.ReLU()]
            units = above
        if dropout:
            layers.append(nn.Dropout(dropout))
        self.hidden = nn.Sequential(*layers)
        self.classes = nn.Linear(units, num_classes)

    def layers_of_interest(self) -> Mapping[str, LayerOfInterest]:
        """Return the map after each block, and the last hidden layer."""
        layers = {}
        for count in range(1, len(self.windows) + 1):
            below = list(chain(*self.windows[:count]))
            layers[f"block {count}"] = feature_map(
                f"block{count}", below, shift_basis=self.shift_basis, source=self.shift_source
            )
        return {**layers, "hidden": LayerOfInterest("hidden", "vector")}


def conv_window(kernel: int, padding: Padding) -> LayerWindow:
    """Return the window of a convolution of odd width and stride 1.

    Args:
        kernel: Its width.
        padding: ``same`` preserves height and width of a map, ``valid`` adds no border.
    """
    return LayerWindow(kernel, padding=kernel // 2 if padding == "same" else 0)


def feature_map(
    module: str,
    windows: Sequence[LayerWindow],
    *,
    representation: type[Representation] = SpatialMap,
    shift_basis: Basis = "by construction",
    exact: Declared = (),
    claimed: Declared = (),
    source: str = "",
) -> LayerOfInterest:
    """Return the output map of a module, given all windows between it and the image.

    Convolution and pooling commute with shifts by whole strides, so that these are declared. They
    are a claim if the network standardises each image: a shift that moves content out of it changes
    its mean and variance.

    Args:
        module: Dotted path of the module.
        windows: Windows of the convolutions and poolings, from the image to the map.
        representation: Transformation of the map.
        shift_basis: Basis of the shifts by whole strides.
        exact: Further views at which it is exact by construction.
        claimed: Views at which it is claimed.
        source: Source of the claim.
    """
    stride, offset = stride_and_offset(windows)
    if shift_basis == "by construction":
        exact = whole_strides(stride) + exact
    else:
        claimed = whole_strides(stride) + claimed
    transformation = representation(exact=exact, claimed=claimed, source=source)
    return LayerOfInterest(
        module, "map", stride=stride, offset=offset, transformation=transformation
    )
