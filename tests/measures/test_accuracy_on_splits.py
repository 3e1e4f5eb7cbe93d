"""Accuracy on splits, ranges and averaged crops, on models whose accuracy is known."""

import itertools

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from capsbench.contracts import class_recall
from capsbench.measures import (
    AccuracyByView,
    MeasureEntry,
    accuracy_by_split,
    accuracy_by_view,
    averaged_accuracy,
)
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import AZIMUTHS, Flat, OfficialTurntable
from tests.measures.answers import Answers

ENTRY = TypeAdapter[MeasureEntry](MeasureEntry)


def entry(**content):
    return ENTRY.validate_python(content)


def ignore():
    """What a measure tells a progress bar."""


class Marked(OfficialTurntable):
    """Class 1 shows in the first pixel, but only of images from familiar azimuths."""

    def read(self):
        recording = super().read()
        split = recording.images
        seen = (split.targets == 1) & (split.factors["azimuth"] < 180)
        split.images[seen, :, 0, 0] = 255
        split.images[~seen, :, 0, 0] = 0
        return recording


def by_first_pixel(images):
    return torch.stack([1 - images[:, 0, 0, 0], images[:, 0, 0, 0]], dim=1)


def test_familiar_and_novel_images_of_a_recorded_set():
    data = Marked(views=ViewRange(azimuth={"values": [0, 90]}))
    steps = []
    asked = entry(
        measure="accuracy-by-split",
        splits=["familiar", "novel"],
        ranges={"behind": {"azimuth": 180}, "all round": {"azimuth": [0, 270]}},
    )
    found = accuracy_by_split.measure(
        asked, Answers(by_first_pixel), data, "cpu", lambda: steps.append(1)
    )
    assert found.values == {
        "familiar/accuracy": 1.0,
        "novel/accuracy": 0.5,
        "behind/accuracy": 0.5,
        "all round/accuracy": 0.75,
        "gap": 0.5,
        "familiar/images": 16,
        "novel/images": 16,
        "behind/images": 8,
        "all round/images": 32,
    }
    assert len(steps) == asked.steps == 4
    assert found.n == 32
    assert found.samples["novel/index"].tolist() == data.split("novel").index.tolist()
    assert found.samples["novel/accuracy"].sum() == 8


def test_a_grid_of_recorded_views():
    data = Marked(views=ViewRange(azimuth={"values": [0, 90]}))
    asked = entry(
        measure="accuracy-by-view",
        grid={
            "azimuth": {"start": 0, "stop": 270, "step": 90},
            "elevation": {"start": 30, "stop": 40, "step": 10},
        },
    )
    assert isinstance(asked, AccuracyByView)
    found = accuracy_by_view.measure(asked, Answers(by_first_pixel), data, "cpu", ignore)
    by_azimuth = [found.values[f"azimuth={azimuth}/accuracy"] for azimuth in AZIMUTHS]
    assert by_azimuth == [1, 1, 0.5, 0.5]
    assert found.values["elevation=30/accuracy"] == 1  # of familiar azimuths, as in training
    assert found.values["azimuth/novel/accuracy"] == 0.5
    assert [row["n"] for row in found.views] == [8, 8, 8, 8, 8, 8]
    assert [row["place"] for row in found.views[:4]] == ["familiar"] * 2 + ["outside"] * 2
    assert found.samples["shown"].sum() == 48
    assert not found.samples["correct"][~found.samples["shown"]].any()


def test_views_between_trained_ones_are_told_from_those_beyond():
    ranges = ViewRange(rotation={"values": [-60, -30, 0, 30, 60]})
    views = [GridView("rotation", value) for value in (0, 15, 45, 120, 180)]
    values, rows = accuracy_by_view.summarize(views, [1.0, 0.8, 0.6, 0.2, 0.4], ranges)
    assert values["between/accuracy"] == pytest.approx(0.7)
    assert values["outside/accuracy"] == pytest.approx(0.3)
    assert values["novel/accuracy"] == pytest.approx(0.5)
    assert [row["familiar"] for row in rows] == [True, False, False, False, False]
    plain, _ = accuracy_by_view.summarize(views, [1.0] * 5, ViewRange(rotation=[-60, 60]))
    assert not any(key.startswith(("between", "outside")) for key in plain)


def test_the_crops_of_hinton_2018():
    asked = entry(measure="averaged-accuracy")
    offsets = {(0, 0)} | {
        (i * a, j * a) for a in (1, 2, 3) for i, j in itertools.product((-1, 1), repeat=2)
    }
    assert len(asked.shifts) == 13
    assert set(asked.shifts) == offsets


def test_probabilities_are_averaged_over_crops():
    """Sure of class 1 where the bright pixel is off its place by a pixel, else undecided for 0."""

    def answer(images):
        there = images[:, 0, 2, 6] == 1  # where a shift by one puts the pixel at (5, 2)
        return torch.where(there[:, None], torch.tensor([[0.0, 9.0, 0.0]]),
                           torch.tensor([[0.2, 0.0, 0.0]]))  # fmt: skip

    data = Flat()
    model = Answers(answer, num_classes=3)
    found = averaged_accuracy.measure(
        entry(measure="averaged-accuracy", shifts=[[0, 0], [1, 0]]), model, data, "cpu", ignore
    )
    targets = data.split("test").targets
    assert found.values["familiar/single/accuracy"] == pytest.approx(
        (targets == 0).float().mean().item()
    )
    assert found.values["familiar/averaged/accuracy"] == pytest.approx(
        (targets == 1).float().mean().item()
    )
    in_turn = averaged_accuracy.measure(
        entry(measure="averaged-accuracy", shifts=[[1, 0], [0, 0]]), model, data, "cpu", ignore
    )
    assert (
        in_turn.values["familiar/averaged/accuracy"] == found.values["familiar/averaged/accuracy"]
    )
    assert found.samples["familiar/averaged/accuracy"].tolist() == (targets == 1).tolist()


@given(st.integers(0, 10_000), st.integers(1, 4), st.integers(2, 6))
@settings(max_examples=60)
def test_what_is_found_of_several_objects(seed, objects, classes):
    objects = min(objects, classes)
    draws = torch.Generator().manual_seed(seed)
    scores = torch.rand(5, classes, generator=draws)
    targets = torch.zeros(5, classes)
    for row in targets:
        row[torch.randperm(classes, generator=draws)[:objects]] = 1
    found = class_recall(scores.log(), targets)
    for row in range(5):
        best = set(scores[row].argsort(descending=True)[:objects].tolist())
        present = set(targets[row].nonzero()[:, 0].tolist())
        assert found[row] == pytest.approx(len(best & present) / objects)
    if objects == 1:
        assert torch.equal(found, class_recall(scores.log(), targets.argmax(1)))


@pytest.mark.parametrize(
    "content",
    [
        {"measure": "accuracy-by-split", "ranges": {"familiar": {"rotation": [0, 1]}}},
        {"measure": "accuracy-by-split", "splits": ["train"]},
        {"measure": "averaged-accuracy", "shifts": []},
    ],
    ids=["a range named as a split", "no test split", "no crop"],
)
def test_what_makes_no_sense_is_refused(content):
    with pytest.raises(ValidationError):
        ENTRY.validate_python(content)
