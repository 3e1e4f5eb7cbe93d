"""Calibration of models with known confidences."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.contracts import Model, Prediction
from capsbench.data.batches import Split
from capsbench.measures.calibration import CalibrationConfig, top_probability
from capsbench.metrics.calibration_error import CalibrationError
from capsbench.names import find
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat, OfficialTurntable
from tests.measures.computing import compute, number, numbers


class Constant(Model):
    """Predicts class 0 with probability 0.9 for every image, with given presences."""

    def __init__(self, presences=None, num_classes=3):
        super().__init__(image_shape=(1, 8, 8), num_classes=num_classes)
        self.presences = presences

    def forward(self, images, views=None):
        likely = torch.full((len(images), self.num_classes), 0.1 / (self.num_classes - 1))
        likely[:, 0] = 0.9
        presences = self.presences
        return Prediction(
            likely.log(), None if presences is None else presences.expand(len(images), -1)
        )

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def measured(model, data, **arguments):
    return compute("calibration", model, data, **arguments)


def test_a_model_without_presences():
    result = measured(Constant(), Flat())
    assert numbers(result) == {
        "confidence[split=familiar]": pytest.approx(0.9),
        "accuracy[split=familiar]": pytest.approx(1 / 3),
        "expected_calibration_error[split=familiar]": pytest.approx(0.9 - 1 / 3),
        "probability_exponent": 1,
        "confidence[split=familiar,exponent=1]": pytest.approx(0.9),
        "expected_calibration_error[split=familiar,exponent=1]": pytest.approx(0.9 - 1 / 3),
    }
    assert {value.n for value in result.values} == {0, 15}
    assert len(result.notes) == 2
    assert result.per_image["index[split=familiar]"].tolist() == list(range(45, 60))
    assert result.per_image["accuracy[split=familiar]"].sum() == 5
    counts = result.per_image["bin_counts[split=familiar,of=class]"]
    assert counts.tolist() == [0] * 13 + [15, 0]


def test_presences_are_confidences_for_each_class():
    result = measured(Constant(torch.tensor([0.3, 0.3, 0.4])), Flat(), bins=10)
    # A third of the statements is true in both bins.
    expected = (2 / 3) * (1 / 3 - 0.3) + (1 / 3) * (0.4 - 1 / 3)
    error = number(result, metric="presence_calibration_error", split="familiar")
    assert error == pytest.approx(expected)
    assert result.per_image["bin_counts[split=familiar,of=presence]"].sum() == 45
    assert result.per_image["presences[split=familiar]"].shape == (15, 3)


def test_presences_in_a_buffer_that_the_next_batch_overwrites(monkeypatch):
    class Buffered(Constant):
        buffer: torch.Tensor

        def forward(self, images, views=None):
            self.buffer[: len(images)] = images[:, 0, 0, :3]
            return Prediction(super().forward(images).scores, self.buffer[: len(images)])

    monkeypatch.setattr("capsbench.data.evaluation.EVALUATION_BATCH", 4)
    model = Buffered()
    model.register_buffer("buffer", torch.zeros(15, 3))
    data = Flat()
    stored = [batch.images[:, 0, 0, :3] for batch in data.evaluation.batches("familiar", "cpu")]
    assert len(stored) > 1
    presences = measured(model, data).per_image["presences[split=familiar]"]
    np.testing.assert_array_equal(presences, torch.cat(stored))


def test_capsules_other_than_class_capsules_have_no_calibration_error():
    result = measured(Constant(torch.tensor([0.2, 0.4])), Flat())
    assert "presence_calibration_error[split=familiar]" not in numbers(result)


class ObjectPairs(Flat):
    """Images of two objects."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        warped = super().on_after_batch_transfer(batch, dataloader_idx)
        warped.targets = 1 - torch.nn.functional.one_hot(warped.targets, 3)
        return warped


def test_in_images_of_several_objects_only_presences_are_evaluated():
    result = measured(Constant(torch.tensor([0.5, 0.5, 0.5])), ObjectPairs(), bins=1)
    assert numbers(result) == {
        "probability_exponent": 1,
        "presence_calibration_error[split=familiar]": pytest.approx(2 / 3 - 0.5),
    }
    assert any("several objects" in note for note in result.notes)


def test_each_split_has_values_and_images_of_its_own():
    data = OfficialTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    config = CalibrationConfig(measure="calibration", splits=("familiar", "novel"))
    assert config.required_splits == ("familiar", "novel")
    result = measured(Constant(num_classes=2), data, splits=["familiar", "novel"])
    assert {value.split for value in result.values} == {None, "familiar", "novel"}
    assert result.per_image["index[split=novel]"].tolist() == data.split("novel").index.tolist()


class Agreeing(Model):
    """Two children vote for two parents; their votes differ more for darker images."""

    def __init__(self):
        super().__init__(image_shape=(1, 8, 8), num_classes=2)
        self.classes = DynamicRouting(
            num_children=2, child_dim=2, num_parents=2, parent_dim=2, iterations=1
        )
        with torch.no_grad():
            self.classes.weights.zero_()
            self.classes.weights[:, 0] = torch.eye(2)
            self.classes.weights[:, 1] = 2 * torch.eye(2)

    def forward(self, images, views=None):
        apart = 1 - images.mean(dim=(1, 2, 3))
        first = torch.stack([torch.ones_like(apart), apart], dim=1)
        second = torch.stack([torch.ones_like(apart), -apart], dim=1)
        lengths = 1.5 * first / first.norm(dim=1, keepdim=True)
        poses, presences = self.classes(
            torch.stack([lengths, 1.5 * second / second.norm(dim=1, keepdim=True)], dim=1)
        )
        return Prediction(presences, presences, poses)

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


class Shades(Flat):
    """Two classes."""

    num_classes = 2
    class_names = ("a", "b")

    def load(self):
        splits = super().load()
        halves = {}
        for name, split in splits.items():
            halves[name] = Split(split.images, split.index % 2, split.index)
        return halves


def correlation(result, *, spread, per_capsule=False):
    metric = "presence_spread_correlation" + ("_per_capsule" if per_capsule else "")
    return number(result, metric=metric, split="familiar", spread=spread)


def test_presence_increases_with_agreement():
    result = measured(Agreeing(), Shades())
    assert correlation(result, spread="relative", per_capsule=True) == pytest.approx(-1)
    assert correlation(result, spread="absolute", per_capsule=True) == pytest.approx(-1)
    # Votes for both capsules have the same spread relative to their length, but other presences.
    assert -1 < correlation(result, spread="relative") < 0
    assert result.per_image["relative_spread[split=familiar]"].shape == (15, 2)


def test_equal_votes_have_no_correlation():
    model = Agreeing()
    with torch.no_grad():
        model.classes.weights.zero_()
    result = measured(model, Shades())
    assert not any("correlation" in name for name in numbers(result))
    assert any("correlation" in note for note in result.notes)


@pytest.mark.parametrize("name", ["capsnet-dr", "capsnet-em-paper"])
def test_capsule_networks_have_all_values(name):
    data = find("datamodules", "digits").load()(limit=12)
    torch.manual_seed(0)
    small = {"channels": 4, "primary_types": 2, "types": (2, 2)}
    if name == "capsnet-dr":
        small = {"channels": 4, "stride": 2, "primary_types": 2, "decoder": ()}
    model = find("models", name).load()(image_shape=(1, 32, 32), num_classes=10, **small).eval()
    result = measured(model, data, bins=5)
    assert not result.notes
    presences = torch.tensor(result.per_image["presences[split=familiar]"])
    last = result.per_image["capsule_presences[split=familiar]"]
    np.testing.assert_allclose(last, presences)
    targets = torch.tensor(result.per_image["targets[split=familiar]"])
    metric = CalibrationError(bins=5)
    metric.update(presences, torch.nn.functional.one_hot(targets, 10))
    error = number(result, metric="presence_calibration_error", split="familiar")
    assert error == pytest.approx(float(metric.compute().error))


def test_an_image_with_nan_has_no_confidence():
    log_probabilities = torch.tensor([[torch.nan, 0.0], [0.0, -torch.inf]])
    assert top_probability(log_probabilities).tolist() == [0, 1]


def test_values_before_the_fit_stand_beside_those_with_the_exponent():
    model, before = Constant(), measured(Constant(), Flat())
    model.probability_exponent.fill_(2)
    result = measured(model, Flat())
    likely = 0.9**2 / (0.9**2 + 2 * 0.05**2)
    expected = {
        "probability_exponent": 2,
        "confidence[split=familiar]": likely,
        "confidence[split=familiar,exponent=1]": 0.9,
        "accuracy[split=familiar]": 1 / 3,
        "expected_calibration_error[split=familiar]": likely - 1 / 3,
        "expected_calibration_error[split=familiar,exponent=1]": 0.9 - 1 / 3,
    }
    assert numbers(result) == {name: pytest.approx(value) for name, value in expected.items()}
    for name, array in before.per_image.items():
        if "of=" not in name and name != "confidence[split=familiar]":
            np.testing.assert_array_equal(result.per_image[name], array)


@pytest.mark.parametrize(
    "content", [{"bins": 0}, {"splits": []}, {"splits": ["train"]}], ids=["bins", "none", "train"]
)
def test_wrong_arguments_are_refused(content):
    with pytest.raises(ValidationError):
        CalibrationConfig.model_validate({"measure": "calibration", **content})
