"""Models that break the contract under torch.compile or in mixed precision, each in one place."""

import torch

from capsbench.conformance import execution
from capsbench.contracts import Prediction
from tests.conformance.sound import Sound


class Branches(Sound):
    def forward(self, images, views=None):
        if images.sum().item() > 0:
            return super().forward(images)
        return super().forward(-images)


class OtherwiseCompiled(Sound):
    def forward(self, images, views=None):
        found = super().forward(images)
        return Prediction(found.scores + 1 if torch.compiler.is_compiling() else found.scores)


class OverflowsInHalf(Sound):
    def forward(self, images, views=None):
        found = super().forward(images)
        large = found.scores / 0 if found.scores.dtype == torch.bfloat16 else found.scores
        return Prediction(large)


class LossInHalf(Sound):
    def loss(self, prediction, batch, progress):
        return super().loss(prediction, batch, progress).to(prediction.scores.dtype)


# The check that is meant for a model, the model, and what the check says.
FAULTS = [
    (execution.compilation, Branches, "torch.compile cannot capture forward as one graph"),
    (execution.compilation, OtherwiseCompiled, "compiled, the outputs deviate by"),
    (execution.autocast, OverflowsInHalf, "scores are not finite in bfloat16"),
    (execution.autocast, LossInHalf, "in torch.bfloat16; compute it from scores.float"),
]
