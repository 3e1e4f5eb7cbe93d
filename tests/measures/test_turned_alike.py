"""Accuracy with 6 and 9 as one class, against loops over images."""

import numpy as np
import pytest
import torch

from capsbench.contracts import Model, Prediction
from capsbench.measures._turned_alike import (
    is_correct_merged,
    merged_quantity,
    reaches_further,
    turns_further,
)
from capsbench.names import find, table
from capsbench.values import Quantity
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.joint import JointView
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import Flat, evaluated_images
from tests.measures.computing import compute, number

CLASSES = {"classes": "6 and 9"}


class Linear(Model):
    """Random linear scores, those of 6 and 9 the largest, so that both are often confused."""

    def __init__(self, size=32, num_classes=10):
        super().__init__(image_shape=(1, size, size), num_classes=num_classes)
        generator = torch.Generator().manual_seed(3)
        self.weight = torch.randn(num_classes, size * size, generator=generator)
        self.weight[6::3] *= 3

    def forward(self, images, views=None):
        return Prediction(images.flatten(1) @ self.weight.T)

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


@pytest.fixture(scope="module")
def digits():
    return find("datamodules", "digits").load()(limit=150, views=ViewRange(rotation=(-15, 15)))


def naive(data, view, *, merge):
    """Return the share of the images whose class is found, one image after the other."""
    split, model = data.split("test"), Linear()
    targets = dict(zip(split.index.tolist(), split.targets.tolist(), strict=True))
    right = []
    for index, image in evaluated_images(data, "test", view).items():
        answer, target = int(model(image[None]).scores.argmax()), targets[index]
        right.append(answer == target or (merge and {answer, target} == {6, 9}))
    return sum(right) / len(right)


def test_views_beyond_a_quarter_have_both_accuracies(digits):
    grid = {
        "rotation": {"start": -180, "stop": 90, "step": 90},
        "scale": {"start": 0.5, "stop": 1.0, "step": 0.5},
    }
    result = compute("accuracy-by-view", Linear(), digits, grid=grid)
    half = GridView("rotation", -180)
    plain, merged = (naive(digits, half, merge=merge) for merge in (False, True))
    assert merged > plain
    at = {"split": "outside", "factor": "rotation", "view": -180}
    assert number(result, metric="accuracy", **at) == pytest.approx(plain)
    assert number(result, metric="merged_accuracy", **at, **CLASSES) == pytest.approx(merged)
    # Summaries average over all of their views, of which one turns further than a quarter.
    turned = [naive(digits, GridView("rotation", a), merge=a == -180) for a in (-180, -90, 90)]
    scaled = naive(digits, GridView("scale", 0.5), merge=False)
    assert scaled < naive(digits, GridView("scale", 0.5), merge=True)
    novel = (np.mean(turned) + scaled) / 2
    for split, factor, expected in (
        ("novel", {"factor": "rotation"}, np.mean(turned)),
        ("novel", {}, novel),
    ):
        own = number(result, metric="merged_accuracy", split=split, **factor, **CLASSES)
        assert own == pytest.approx(expected)
    outcomes = result.per_image["merged_accuracy[split=novel,classes=6 and 9]"]
    assert outcomes.shape == (150,)
    assert outcomes.mean() == pytest.approx(novel)
    names = {value.name for value in result.values if value.metric == "merged_accuracy"}
    assert names == {
        "merged_accuracy[split=novel,factor=rotation,classes=6 and 9]",
        "merged_accuracy[split=novel,classes=6 and 9]",
        "merged_accuracy[split=outside,factor=rotation,view=-180,classes=6 and 9]",
    }


def test_joint_views_beyond_a_quarter_have_both_accuracies(digits):
    grid = {
        "rotation": {"start": 0, "stop": 180, "step": 180},
        "scale": {"start": 0.5, "stop": 1.0, "step": 0.5},
    }
    result = compute("accuracy-by-joint-view", Linear(), digits, grid=grid)
    views = [
        JointView((GridView("rotation", angle), GridView("scale", scale)))
        for angle, scale in ((180, 0.5), (180, 1.0), (0, 0.5))
    ]
    merged = [naive(digits, view, merge=view is not views[2]) for view in views]
    at = {"split": "outside", "factor": "rotation", "view": 180, "scale": 0.5}
    assert number(result, metric="merged_accuracy", **at, **CLASSES) == pytest.approx(merged[0])
    novel = number(result, metric="merged_accuracy", split="novel", **CLASSES)
    assert novel == pytest.approx(np.mean(merged))
    outcomes = result.per_image["merged_accuracy[split=novel,classes=6 and 9]"]
    assert outcomes.mean() == pytest.approx(novel)


def test_ranges_beyond_a_quarter_have_both_accuracies(digits):
    ranges = {"far": {"rotation": [90, 180]}, "near": {"rotation": [-90, 90]}}
    result = compute("accuracy-by-split", Linear(), digits, splits=(), ranges=ranges)
    far = ViewRange(rotation=(90, 180))
    assert number(result, metric="accuracy", split="far") == naive(digits, far, merge=False)
    merged = number(result, metric="merged_accuracy", split="far", **CLASSES)
    assert merged == pytest.approx(naive(digits, far, merge=True))
    assert result.per_image["merged_accuracy[split=far,classes=6 and 9]"].mean() == merged
    assert len(result.values) == 3


def test_splits_have_both_accuracies_if_the_views_of_training_turn_further():
    cls = find("datamodules", "digits").load()
    both = {"accuracy", "merged_accuracy"}
    for angle, metrics in ((90, {"accuracy"}), (91, both), (180, both)):
        data = cls(limit=400, views=ViewRange(rotation=(-angle, angle)))
        result = compute("accuracy-by-split", Linear(), data, splits=("familiar",))
        assert {value.metric for value in result.values} == metrics
    merged = number(result, metric="merged_accuracy", split="familiar", **CLASSES)
    assert merged > number(result, metric="accuracy", split="familiar")


@pytest.mark.parametrize(
    ("measure", "arguments"),
    [
        ("accuracy-by-view", {"grid": {"rotation": {"start": 0, "stop": 180, "step": 90}}}),
        ("accuracy-by-split", {"ranges": {"far": {"rotation": 180}}}),
    ],
)
def test_data_without_alike_classes_has_the_plain_accuracy_alone(measure, arguments):
    result = compute(measure, Linear(size=8, num_classes=3), Flat(), **arguments)
    assert not any("merged" in name for name in [v.name for v in result.values])
    assert not any("merged" in name for name in result.per_image)


def test_only_turns_beyond_a_quarter_count():
    turned = {angle: turns_further(GridView("rotation", angle)) for angle in (-91, -90, 0, 90, 91)}
    assert turned == {-91: True, -90: False, 0: False, 90: False, 91: True}
    assert not turns_further(GridView("rotation", 350))
    assert not turns_further(GridView("azimuth", 180))
    assert reaches_further(ViewRange(rotation={"intervals": [[-30, 0], [80, 100]]}))
    assert not reaches_further(ViewRange(rotation=(-90, 90), shift=(-200, 200)))


def test_any_member_of_a_group_is_right_and_nan_never_is():
    logits = torch.eye(4)[[0, 1, 2, 3, 1, 2]]
    logits[5, 0] = torch.nan
    targets = torch.tensor([1, 2, 1, 3, 0, 2])
    correct = is_correct_merged(logits, targets, torch.full((6,), 180.0), [(1, 2)])
    assert correct.tolist() == [False, True, True, True, False, False]


def test_classes_are_merged_in_turned_images_alone():
    logits = torch.eye(3)[[1, 1, 1, 1, 1, 2, 2]]
    targets = torch.tensor([2, 2, 2, 2, 2, 2, 1])
    rotation = torch.tensor([0.0, 90, 91, -91, 270, 0, 350], dtype=torch.float64)
    correct = is_correct_merged(logits, targets, rotation, [(1, 2)])
    assert correct.tolist() == [False, False, True, True, False, True, False]


@pytest.mark.parametrize("name", table("datamodules"))
def test_groups_are_classes_of_the_set(name):
    cls = find("datamodules", name).load()
    groups = [k for group in cls.turned_alike for k in group]
    assert len(set(groups)) == len(groups)
    if groups:
        assert [cls.class_names[k] for k in groups] == ["6", "9"]


def test_the_condition_names_the_classes(digits):
    accuracy = Quantity(metric="accuracy", split="novel", condition={"scale": 0.5})
    merged = merged_quantity(accuracy, digits)
    assert merged.condition == {"scale": 0.5, "classes": "6 and 9"}
    assert merged.split == "novel"
