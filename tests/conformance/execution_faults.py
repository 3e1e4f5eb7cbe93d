"""Models with one fault each under torch.compile or in mixed precision."""

import torch

from capsbench.conformance import execution
from capsbench.contracts import Prediction
from tests.conformance.sound import Sound


class Branches(Sound):
    def forward(self, images, views=None):
        if images.sum().item() > 0:
            return super().forward(images)
        return super().forward(-images)


class DifferentCompiled(Sound):
    def forward(self, images, views=None):
        scores = super().forward(images).scores
        return Prediction(scores + 1 if torch.compiler.is_compiling() else scores)


class OverflowsInHalf(Sound):
    def forward(self, images, views=None):
        scores = super().forward(images).scores
        return Prediction(scores / 0 if scores.dtype == torch.bfloat16 else scores)


class LossInHalf(Sound):
    def loss(self, prediction, batch, progress):
        return super().loss(prediction, batch, progress).to(prediction.scores.dtype)


class LogitsInHalf(Sound):
    def logits(self, prediction):
        return prediction.scores


# Check, model that fails it, key words of the message.
FAULTS = [
    (execution.compilation, Branches, "cannot capture forward as one graph"),
    (execution.compilation, DifferentCompiled, "compiled model differ"),
    (execution.autocast, OverflowsInHalf, "scores are not finite in bfloat16"),
    (execution.autocast, LogitsInHalf, "logits are torch.bfloat16; .*scores.float"),
    (execution.autocast, LossInHalf, "torch.bfloat16; .*scores.float"),
]
