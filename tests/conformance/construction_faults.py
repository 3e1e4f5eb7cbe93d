"""Models with one fault each in constructor, seeding, image sizes or checkpoints."""

import random
from collections.abc import Callable
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor, nn

from capsbench.conformance import construction
from capsbench.contracts import ImageShape, Prediction
from tests.conformance.sound import Sound


class ByPosition(Sound):
    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)


class Untyped(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int, depth=2) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)


class OtherKnobs(Sound):
    knobs: ClassVar = {"depth": (1, 2)}


class WithoutShape(Sound):
    def __init__(self, *, num_classes: int) -> None:
        super().__init__(image_shape=(1, 28, 28), num_classes=num_classes)


class Raises(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        raise KeyError("width")


class OwnSeed(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        torch.manual_seed(0)
        super().__init__(image_shape=image_shape, num_classes=num_classes)


class OtherRandomness(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        nn.init.constant_(self.classes.bias, random.random() + np.random.rand())  # noqa: NPY002


class NoSmallestSize(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=(image_shape[0], 28, 28), num_classes=num_classes)


class ShapelessRefusal(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        if image_shape[1] < 4:
            raise ValueError("too small")
        super().__init__(image_shape=image_shape, num_classes=num_classes)


class HeightOnly(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        height = image_shape[1]
        super().__init__(image_shape=(image_shape[0], height, height), num_classes=num_classes)
        self.body = nn.Sequential(nn.AdaptiveAvgPool2d(height // 4), nn.Flatten())


class Exits(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        raise SystemExit(3)


class SquareOnly(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        channels, height, _ = image_shape
        self.hidden = nn.Linear(channels * (height // 4) ** 2, 3)


class OneChannelOnly(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.body.insert(0, nn.Conv2d(1, 1, 1))


class InfiniteForWide(Sound):
    def loss(self, prediction, batch, progress):
        _, height, width = self.image_shape
        return super().loss(prediction, batch, progress) / float(height >= width)


class ForgetsItsSchedule(Sound):
    temperature = 0.0

    def advance(self, progress):
        self.temperature = progress

    def forward(self, images, views=None):
        scores = super().forward(images).scores
        return Prediction(scores * (1 + self.temperature))


class UnsavedArgument(Sound):
    def __init__(
        self,
        *,
        image_shape: ImageShape,
        num_classes: int,
        activation: Callable[[Tensor], Tensor] = torch.sigmoid,
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.activation = activation

    def forward(self, images, views=None):
        return Prediction(self.activation(super().forward(images).scores))


# Check, model that fails it, key words of the message.
FAULTS = [
    (construction.constructor, ByPosition, "'image_shape' can be passed by position"),
    (construction.constructor, Untyped, "'depth' has no type"),
    (construction.constructor, OtherKnobs, "knob of OtherKnobs.*'depth'.*attribute 'knobs'"),
    (construction.constructor, WithoutShape, "does not take 'image_shape'"),
    (construction.constructor, Raises, r"KeyError: 'width' \(construction_faults.py:\d+\)"),
    (construction.constructor, Exits, r"SystemExit: 3 \(construction_faults.py:\d+\)"),
    (construction.image_shapes, SquareOnly, "images of 1x28x56 raise a RuntimeError"),
    (construction.image_shapes, OneChannelOnly, "images of 2x28x28 raise a RuntimeError"),
    (construction.image_shapes, InfiniteForWide, "for images of 1x28x56 the loss is inf"),
    (construction.seeding, OwnSeed, "all seeds give the same weights"),
    (construction.seeding, OtherRandomness, "'classes.bias' differs between two models"),
    (construction.smallest_size, NoSmallestSize, "1 x 1 pixels is built but raises a Runtime"),
    (construction.smallest_size, ShapelessRefusal, "1 x 1 pixels raise a ValueError; call .*requ"),
    (construction.smallest_size, HeightOnly, "4 x 3 pixels are not refused although .* is 4"),
    (construction.checkpoint, ForgetsItsSchedule, "after loading, scores differ; .* buffer"),
    (construction.checkpoint, UnsavedArgument, "an argument is not a plain value"),
]
