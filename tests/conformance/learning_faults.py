"""Models with one fault each in the loss, its gradients or learning."""

import torch
from torch import nn
from torch.nn.functional import cross_entropy

from capsbench.conformance import learning
from capsbench.contracts import ImageShape, Prediction
from tests.conformance.sound import Sound


class LossPerImage(Sound):
    def loss(self, prediction, batch, progress):
        return cross_entropy(prediction.scores, batch.targets, reduction="none")


class LateInfinity(Sound):
    def loss(self, prediction, batch, progress):
        return super().loss(prediction, batch, progress) / (1 - progress)


class IndicesOnly(Sound):
    def loss(self, prediction, batch, progress):
        first = batch.targets if batch.targets.dim() == 1 else batch.targets.argmax(dim=1)
        return cross_entropy(prediction.scores.float(), first)


class OtherLossForMultiHot(Sound):
    def loss(self, prediction, batch, progress):
        return super().loss(prediction, batch, progress) * batch.targets.dim()


class SummedLoss(Sound):
    def loss(self, prediction, batch, progress):
        return super().loss(prediction, batch, progress) * len(batch.images)


class DummyWeight(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.dummy = nn.Parameter(torch.zeros(1))


class ZeroGradient(DummyWeight):
    def loss(self, prediction, batch, progress):
        return super().loss(prediction, batch, progress) + 0 * self.dummy.sum()


class InfiniteGradient(DummyWeight):
    def loss(self, prediction, batch, progress):
        return super().loss(prediction, batch, progress) + self.dummy.sum().sqrt()


class BatchNorm(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.body.append(nn.BatchNorm1d(49))


class Standardised(Sound):
    def forward(self, images, views=None):
        scores = super().forward(images).scores
        return Prediction(
            scores / (scores - scores.mean(dim=0)).norm(dim=0) if self.training else scores
        )


class WrongSign(Sound):
    def loss(self, prediction, batch, progress):
        return -super().loss(prediction, batch, progress)


class Flat(Sound):
    def loss(self, prediction, batch, progress):
        return 2.3 + 1e-6 * super().loss(prediction, batch, progress)


# Check, model that fails it, key words of the message.
FAULTS = [
    (learning.loss, LossPerImage, "not a scalar"),
    (learning.loss, LateInfinity, "at progress 1.0 the loss is inf"),
    (learning.targets, IndicesOnly, "second object"),
    (learning.targets, OtherLossForMultiHot, "class indices and .* multi-hot"),
    (learning.batch_average, SummedLoss, "repeating every image"),
    (learning.gradients, DummyWeight, "no gradient reaches dummy"),
    (learning.gradients, ZeroGradient, "no gradient reaches dummy"),
    (learning.gradients, InfiniteGradient, "the gradient is not finite for dummy"),
    (learning.one_image, BatchNorm, "single image raises a ValueError"),
    (learning.one_image, Standardised, "single image, nan"),
    (learning.learning, WrongSign, "of the true classes from -2.* to -.*sign"),
    (learning.learning, Flat, "20 steps of Adam change the loss from 2.3"),
]
