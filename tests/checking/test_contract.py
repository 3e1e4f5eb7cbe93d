"""Each way of breaking the contract fails the check that is meant for it, in a useful sentence."""

import random
import re

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn.functional import cross_entropy

from capsbench.checking import construction, execution, learning, prediction
from capsbench.checking.contract import CHECKS, check_contract, run_check
from capsbench.checking.subject import Subject
from capsbench.contracts import (
    ImageShape,
    LayerOfInterest,
    Model,
    Prediction,
    one_hot,
    require_size,
)


class Sound(Model):
    """Keeps the contract; the others below break it in one place."""

    def __init__(self, *, image_shape: ImageShape, num_classes: int, width: int = 3) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        require_size("sound", image_shape, 4)
        channels, height, columns = image_shape
        self.body = nn.Sequential(nn.AvgPool2d(4), nn.Flatten())
        self.hidden = nn.Linear(channels * (height // 4) * (columns // 4), width)
        self.classes = nn.Linear(width, num_classes)

    def forward(self, images, views=None):
        return Prediction(self.classes(self.hidden(self.body(images)).tanh()))

    def loss(self, prediction, batch, progress):
        shares = one_hot(batch.targets, self.num_classes)
        return cross_entropy(prediction.scores.float(), shares / shares.sum(dim=1, keepdim=True))

    def layers_of_interest(self):
        return {"hidden": LayerOfInterest("hidden", "vector")}


class ByPosition(Sound):
    def __init__(self, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)


class Untyped(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int, depth=2) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)


class WithoutShape(Sound):
    def __init__(self, *, num_classes: int) -> None:
        super().__init__(image_shape=(1, 28, 28), num_classes=num_classes)


class Raises(Sound):
    def __init__(self, *, image_shape: ImageShape, num_classes: int) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        raise KeyError("width")


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
        found = super().forward(images)
        return found._replace(presences=found.scores - 5)


class MorePresencesThanPoses(Sound):
    def forward(self, images, views=None):
        found = super().forward(images)
        return found._replace(presences=found.scores.sigmoid(), poses=images.flatten(2))


class FlatPoses(Sound):
    def forward(self, images, views=None):
        return super().forward(images)._replace(poses=images.flatten(1))


class SmallReconstruction(Sound):
    def forward(self, images, views=None):
        return super().forward(images)._replace(reconstruction=images[..., 1:])


class BrightReconstruction(Sound):
    def forward(self, images, views=None):
        return super().forward(images)._replace(reconstruction=2 * images)


class Unnormalised(Sound):
    def log_probabilities(self, prediction):
        return prediction.scores


class RanksBackwards(Sound):
    def log_probabilities(self, prediction):
        return torch.log_softmax(-prediction.scores, dim=1)


class BatchStatistics(Sound):
    def forward(self, images, views=None):
        return super().forward(images - images.mean(dim=0) + images.std())


class Winner(Sound):
    """Its scores hold the batch's, with a gradient, but no difference in value."""

    def forward(self, images, views=None):
        found = super().forward(images)
        others = found.scores.sum()
        return Prediction(found.scores + others - others.detach())


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


class Flat(Sound):
    def loss(self, prediction, batch, progress):
        return 2.3 + 1e-6 * super().loss(prediction, batch, progress)


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


class ForgetsItsSchedule(Sound):
    temperature = 0.0

    def advance(self, progress):
        self.temperature = progress

    def forward(self, images, views=None):
        found = super().forward(images)
        return Prediction(found.scores * (1 + self.temperature))


class UnsavedArgument(Sound):
    def __init__(
        self, *, image_shape: ImageShape, num_classes: int, scale: complex = 1 + 0j
    ) -> None:
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.scale = abs(scale)

    def forward(self, images, views=None):
        return Prediction(super().forward(images).scores * self.scale)


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


BROKEN = [
    (construction.constructor, ByPosition, "'image_shape' can be given by position"),
    (construction.constructor, Untyped, "'depth' has no type; annotate it"),
    (construction.constructor, WithoutShape, "does not take 'image_shape'; add it"),
    (construction.constructor, Raises, r"KeyError: 'width' \(test_contract.py:\d+\)"),
    (construction.seeding, OwnSeed, "all seeds make the same weights"),
    (construction.seeding, OtherRandomness, "'classes.bias' differs between two models of one"),
    (construction.smallest_size, NoSmallestSize, "1 x 1 pixels is built but ends in a Runtime"),
    (construction.smallest_size, ShapelessRefusal, "1 x 1 pixels end in a ValueError; call .*requ"),
    (construction.smallest_size, HeightOnly, "4 x 3 pixels are not refused although .* is 4"),
    (construction.checkpoint, ForgetsItsSchedule, "after loading, scores differ; .* buffer"),
    (construction.checkpoint, UnsavedArgument, "after loading, scores differ; .* JSON can hold it"),
    (prediction.forward, ReturnsScores, "forward returns a Tensor; return a contracts.Prediction"),
    (prediction.forward, OneClassMore, r"scores have the shape \(4, 11\), not .* \(4, 10\)"),
    (prediction.forward, WrongMatrix, r"RuntimeError: .*mat1 and mat2 .* \(test_contract.py:\d+\)"),
    (prediction.forward, InDouble, "scores are torch.float64, not torch.float32"),
    (prediction.prediction, NegativePresences, r"presences lie in \[-.*\], not in \[0, 1\]"),
    (prediction.prediction, MorePresencesThanPoses, "not as many presences as poses"),
    (prediction.prediction, FlatPoses, r"poses have the shape \(4, 784\), neither"),
    (prediction.prediction, SmallReconstruction, r"the shape \(4, 1, 28, 27\), not \(4, 1, 28"),
    (prediction.prediction, BrightReconstruction, r"pixels lie in \[.*, 2\], not in \[0, 1\]"),
    (prediction.log_probabilities, Unnormalised, "miss the sum of one by"),
    (prediction.log_probabilities, RanksBackwards, "in another order than scores"),
    (prediction.batch_independence, BatchStatistics, "deviates by .*; take no statistics"),
    (prediction.image_gradient, Winner, "change with another image of the batch"),
    (prediction.image_gradient, Detached, "gradient .* is zero or not finite"),
    (prediction.determinism, AlwaysDropout, "a second look deviates by .* if self.training"),
    (prediction.layers_of_interest, NoSuchLayer, "'hidden': there is no module 'hiden'"),
    (prediction.layers_of_interest, UncalledLayer, "'pool': forward does not call 'pool'"),
    (prediction.layers_of_interest, LayerOfAnotherKind, r"has the shape \(4, 3\), which is no map"),
    (prediction.layers_of_interest, LayerWithoutItems, "returns no tuple with an item 1"),
    (learning.loss, LossPerImage, "the loss is no scalar tensor"),
    (learning.loss, LateInfinity, "at progress 1.0 the loss is inf"),
    (learning.targets, IndicesOnly, "a second object in an image does not change the loss"),
    (learning.targets, OtherLossForMultiHot, "class indices and .* multi-hot; begin with"),
    (learning.batch_average, SummedLoss, "with each image twice the loss goes from"),
    (learning.gradients, DummyWeight, "no gradient reaches dummy; use"),
    (learning.gradients, ZeroGradient, "no gradient reaches dummy; use"),
    (learning.gradients, InfiniteGradient, "the gradient is not finite for dummy"),
    (learning.learning, Flat, "20 steps of Adam take the loss from 2.3.* is its sign right"),
    (execution.compilation, Branches, "torch.compile cannot capture forward as one graph"),
    (execution.compilation, OtherwiseCompiled, "compiled, the outputs deviate by"),
    (execution.autocast, OverflowsInHalf, "scores are not finite in bfloat16"),
    (execution.autocast, LossInHalf, "in torch.bfloat16; compute it from scores.float"),
]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_what_keeps_the_contract_passes(check):
    result = run_check(check, Subject(Sound))
    assert (result.status, result.traceback) == ("passed", ""), result.detail
    assert result.sentence.endswith(".")


@pytest.mark.parametrize(
    ("check", "cls", "sentence"),
    BROKEN,
    ids=lambda x: getattr(x, "__name__", ""),
)
def test_what_breaks_it_fails_with_a_sentence(check, cls, sentence):
    arguments = {"scale": 3 + 4j} if cls is UnsavedArgument else {}
    result = run_check(check, Subject(cls, arguments=arguments))
    assert result.status == "failed"
    assert "\n" not in result.detail
    assert re.search(sentence, result.detail), result.detail


def test_every_check_has_a_model_that_breaks_it():
    assert {check for check, _, _ in BROKEN} == set(CHECKS)


def test_nothing_more_is_run_where_a_fundamental_check_fails():
    constructor, *rest = check_contract(Subject(Raises))
    assert constructor.status == "failed"
    assert "Traceback" in constructor.traceback and "KeyError" in constructor.traceback
    assert {result.status for result in rest} == {"not applicable"}
    assert {result.detail for result in rest} == {"not run, since 'constructor' fails"}
    results = list(check_contract(Subject(OneClassMore)))
    assert [result.status for result in results[:3]] == ["passed", "failed", "not applicable"]


def test_a_model_without_layers_of_interest_is_no_failure():
    class Plain(Sound):
        def layers_of_interest(self):
            return {}

    result = run_check(prediction.layers_of_interest, Subject(Plain))
    assert (result.status, result.detail[:13]) == ("not applicable", "it names none")


def test_checks_leave_no_trace_in_the_random_numbers():
    torch.manual_seed(99)
    before = torch.get_rng_state(), random.getstate(), str(np.random.get_state())  # noqa: NPY002
    for check in CHECKS:
        run_check(check, Subject(OtherRandomness))
    assert torch.equal(torch.get_rng_state(), before[0])
    assert random.getstate() == before[1]
    assert str(np.random.get_state()) == before[2]  # noqa: NPY002
