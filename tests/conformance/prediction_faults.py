"""Models with one fault each in predictions or activations."""

from torch import nn
from torch.nn.functional import nll_loss

from capsbench.conformance import prediction
from capsbench.contracts import ImageShape, LayerOfInterest, Prediction
from tests.conformance.sound import Sound


class ReturnsScores(Sound):
    def forward(self, images, views=None):
        return super().forward(images).scores


class OneClassMore(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.classes = nn.Linear(3, num_classes + 1)


class WrongMatrix(Sound):
    def forward(self, images, views=None):
        return Prediction(self.classes(self.body(images)))


class InDouble(Sound):
    def forward(self, images, views=None):
        return Prediction(super().forward(images).scores.double())


class NegativePresences(Sound):
    def forward(self, images, views=None):
        output = super().forward(images)
        return output._replace(presences=output.scores - 5)


class MorePresencesThanPoses(Sound):
    def forward(self, images, views=None):
        output = super().forward(images)
        return output._replace(presences=output.scores.sigmoid(), poses=images.flatten(2))


class FlatPoses(Sound):
    def forward(self, images, views=None):
        return super().forward(images)._replace(poses=images.flatten(1))


class SmallReconstruction(Sound):
    def forward(self, images, views=None):
        return super().forward(images)._replace(reconstruction=images[..., 1:])


class BrightReconstruction(Sound):
    def forward(self, images, views=None):
        return super().forward(images)._replace(reconstruction=2 * images)


class DoubleLogits(Sound):
    def logits(self, prediction):
        return prediction.scores.double()


class TrainsTheExponent(Sound):
    def loss(self, prediction, batch, progress):
        return nll_loss(self.log_probabilities(prediction), batch.targets)


class InfiniteLogits(Sound):
    def logits(self, prediction):
        return prediction.scores / 0


class RanksBackwards(Sound):
    def logits(self, prediction):
        return -prediction.scores


class BatchStatistics(Sound):
    def forward(self, images, views=None):
        return super().forward(images - images.mean(dim=0) + images.std())


class CoupledGradients(Sound):
    """Its scores depend on the batch in their gradient, but not in their value."""

    def forward(self, images, views=None):
        scores = super().forward(images).scores
        return Prediction(scores + scores.sum() - scores.sum().detach())


class Detached(Sound):
    def forward(self, images, views=None):
        return super().forward((images > 0.5).float() + 0 * images)


class AlwaysDropout(Sound):
    def forward(self, images, views=None):
        return super().forward(nn.functional.dropout(images))


class NoSuchLayer(Sound):
    def layers_of_interest(self):
        return {"hidden": LayerOfInterest("hiden", "vector")}


class UncalledLayer(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.pool = nn.Identity()

    def layers_of_interest(self):
        return {"pool": LayerOfInterest("pool", "map")}


class LayerOfAnotherKind(Sound):
    def layers_of_interest(self):
        return {"hidden": LayerOfInterest("hidden", "map")}


class LayerWithoutItems(Sound):
    def layers_of_interest(self):
        return {"hidden": LayerOfInterest("hidden", "vector", output=1)}


# Check, model that fails it, key words of the message.
FAULTS = [
    (prediction.forward, ReturnsScores, "returns a Tensor"),
    (prediction.forward, OneClassMore, r"scores have the shape \(4, 11\) instead of .* \(4, 10\)"),
    (
        prediction.forward,
        WrongMatrix,
        r"RuntimeError: .*mat1 and mat2 .* \(prediction_faults.py:\d+\)",
    ),
    (prediction.forward, InDouble, "scores are torch.float64"),
    (prediction.prediction, NegativePresences, r"presences are in \[-.*\] instead of \[0, 1\]"),
    (prediction.prediction, MorePresencesThanPoses, "presences and poses differ"),
    (prediction.prediction, FlatPoses, r"poses have the shape \(4, 784\)"),
    (
        prediction.prediction,
        SmallReconstruction,
        r"\(4, 1, 28, 27\) instead of \(4, 1, 28",
    ),
    (prediction.prediction, BrightReconstruction, r"pixels are in \[.*, 2\] instead of \[0, 1\]"),
    (prediction.logits, InfiniteLogits, "logits are not finite"),
    (prediction.logits, DoubleLogits, "logits are torch.float64"),
    (prediction.logits, RanksBackwards, "in another order than scores"),
    (prediction.logits, TrainsTheExponent, "loss depend on probability_exponent"),
    (prediction.batch_independence, BatchStatistics, "changes by .*batch statistics"),
    (prediction.image_gradient, CoupledGradients, "change with another image of the batch"),
    (prediction.image_gradient, Detached, "gradient .* is zero or not finite"),
    (prediction.determinism, AlwaysDropout, "second prediction differs"),
    (prediction.layers_of_interest, NoSuchLayer, "no module 'hiden'"),
    (prediction.layers_of_interest, UncalledLayer, "'pool': forward does not call 'pool'"),
    (
        prediction.layers_of_interest,
        LayerOfAnotherKind,
        r"shape \(4, 3\), .* not that of a map",
    ),
    (prediction.layers_of_interest, LayerWithoutItems, "not return a tuple with an item 1"),
]
