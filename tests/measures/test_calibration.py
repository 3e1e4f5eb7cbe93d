"""Calibration of models that say how sure they are."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.contracts import Model, Prediction
from capsbench.data.batches import Split
from capsbench.measures import MeasureEntry
from capsbench.measures._reliability import reliability
from capsbench.measures.calibration import measure
from capsbench.names import find
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat, OfficialTurntable

ENTRY = TypeAdapter[MeasureEntry](MeasureEntry)


def entry(**content):
    return ENTRY.validate_python({"measure": "calibration", **content})


class Says(Model):
    """Says class 0 with 0.9; one presence for each class where they are given."""

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


def measured(asked, model, data):
    steps = []
    found = measure(asked, model, data, "cpu", lambda: steps.append(1))
    assert len(steps) == asked.steps
    assert all(np.isfinite(list(found.values.values())))
    return found


def test_probabilities_of_logits_alone():
    found = measured(entry(), Says(), Flat())
    assert found.values == {
        "familiar/top label/confidence": pytest.approx(0.9),
        "familiar/top label/accuracy": pytest.approx(1 / 3),
        "familiar/top label/error": pytest.approx(0.9 - 1 / 3),
    }
    assert found.n == 15
    assert len(found.notes) == 2
    assert found.samples["familiar/index"].tolist() == list(range(45, 60))
    assert found.samples["familiar/correct"].sum() == 5
    assert found.samples["familiar/top label/bins/counts"].tolist() == [0] * 13 + [15, 0]


def test_presences_say_each_class():
    presences = torch.tensor([0.3, 0.3, 0.4])
    found = measured(entry(bins=10), Says(presences), Flat())
    # A third of the statements is true in both bins.
    expected = (2 / 3) * (1 / 3 - 0.3) + (1 / 3) * (0.4 - 1 / 3)
    assert found.values["familiar/presences/error"] == pytest.approx(expected)
    assert found.samples["familiar/presences/bins/counts"].sum() == 45
    assert found.samples["familiar/presences"].shape == (15, 3)


def test_capsules_that_are_no_classes_are_not_asked():
    found = measured(entry(), Says(torch.tensor([0.2, 0.4])), Flat())
    assert "familiar/presences/error" not in found.values


class Pairs(Flat):
    """Images of two objects."""

    def on_after_batch_transfer(self, batch, dataloader_idx):
        seen = super().on_after_batch_transfer(batch, dataloader_idx)
        seen.targets = 1 - torch.nn.functional.one_hot(seen.targets, 3)
        return seen


def test_images_of_several_objects_are_asked_by_presence_alone():
    found = measured(entry(bins=1), Says(torch.tensor([0.5, 0.5, 0.5])), Pairs())
    assert found.values == {"familiar/presences/error": pytest.approx(2 / 3 - 0.5)}
    assert any("several objects" in note for note in found.notes)


def test_splits_are_told_apart():
    data = OfficialTurntable(views=ViewRange(azimuth={"values": [0, 90]}))
    asked = entry(splits=["familiar", "novel"])
    assert asked.tested == ("familiar", "novel")
    found = measured(asked, Says(num_classes=2), data)
    assert {key.partition("/")[0] for key in found.values} == {"familiar", "novel"}
    assert found.samples["novel/index"].tolist() == data.split("novel").index.tolist()


class Agreeing(Model):
    """Two children vote for one of two parents; the darker the image, the more they disagree."""

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

    def load(self):
        splits = super().load()
        halves = {}
        for name, split in splits.items():
            halves[name] = Split(split.images, split.index % 2, split.index)
        return halves


def test_presence_means_agreement():
    found = measured(entry(), Agreeing(), Shades())
    assert found.values["familiar/agreement/relative/by capsule"] == pytest.approx(-1)
    assert found.values["familiar/agreement/absolute/by capsule"] == pytest.approx(-1)
    # Of both capsules together: the longer votes are as relative to their length as the others.
    assert -1 < found.values["familiar/agreement/relative/pooled"] < 0
    assert found.samples["familiar/last relative"].shape == (15, 2)


def test_votes_that_are_all_one_have_no_correlation():
    model = Agreeing()
    with torch.no_grad():
        model.classes.weights.zero_()
    found = measured(entry(), model, Shades())
    assert not any("agreement" in key for key in found.values)
    assert any("agreement" in note for note in found.notes)


@pytest.mark.parametrize("name", ["capsnet-dr", "capsnet-em-small"])
def test_networks_of_capsules_are_asked_wholly(name):
    data = find("datamodules", "digits").load()(limit=12)
    torch.manual_seed(0)
    small = {"channels": 4, "primary_types": 2, "types": (2, 2)}
    if name == "capsnet-dr":
        small = {"channels": 4, "stride": 2, "primary_types": 2, "decoder": ()}
    model = find("models", name).load()(image_shape=(1, 32, 32), num_classes=10, **small).eval()
    found = measured(entry(bins=5), model, data)
    assert not found.notes
    presences = torch.tensor(found.samples["familiar/presences"])
    np.testing.assert_allclose(found.samples["familiar/last presences"], presences)
    targets = torch.tensor(found.samples["familiar/targets"])
    table = reliability(presences, torch.nn.functional.one_hot(targets, 10), bins=5)
    assert found.values["familiar/presences/error"] == pytest.approx(float(table.error))


@pytest.mark.parametrize(
    "content", [{"bins": 0}, {"splits": []}, {"splits": ["train"]}], ids=["bins", "none", "train"]
)
def test_what_makes_no_sense_is_refused(content):
    with pytest.raises(ValidationError):
        entry(**content)
