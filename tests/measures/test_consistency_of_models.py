"""Consistency and worst of k of models that look at one place of the image."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from capsbench.contracts import class_recall, predicted_classes
from capsbench.data.batches import Split
from capsbench.measures import MeasureEntry, consistency, worst_of_k
from capsbench.measures._reliability import top_label
from tests.data.made_up import Flat, Turntable
from tests.measures.answers import Answers

ENTRY = TypeAdapter[MeasureEntry](MeasureEntry)
SHIFTS = {"shift_x": {"start": -1, "stop": 1, "step": 1}}


def entry(**content):
    return ENTRY.validate_python(content)


class Points(Flat):
    """An image of class 1 has its point at (4, 4), of class 0 at (5, 4), x before y."""

    num_classes = 2

    def load(self):
        rows = torch.arange(60)
        images = torch.zeros(60, 1, 8, 8, dtype=torch.uint8)
        images[rows, :, 4, 5 - rows % 2] = 255
        whole = Split(images, rows % 2, 100 + rows)
        return {"train": whole[:20], "validation": whole[20:30], "test": whole[30:]}


def at_point(images):
    """Class 1 where there is a point at (4, 4)."""
    there = images[:, 0, 4, 4]
    return torch.stack([0.5 - there, there - 0.5], dim=1)


def measured(module, asked, model, data):
    steps = []
    found = module.measure(asked, model, data, "cpu", lambda: steps.append(1))
    assert len(steps) == asked.steps
    assert all(np.isfinite(list(found.values.values())))
    return found


def test_consistency_by_view_and_over_all():
    grid = {"shift_x": SHIFTS["shift_x"], "rotation": {"start": -180, "stop": 180, "step": 180}}
    asked = entry(measure="consistency", grid=grid)
    found = measured(consistency, asked, Answers(at_point), Points())
    # A pixel to the left the points of class 0 come in, and those of class 1 leave.
    assert found.values == {
        "shift_x=-1/consistency": 0.0,
        "shift_x=0/consistency": 1.0,
        "shift_x=1/consistency": 0.5,
        "shift_x/consistency": 0.25,
        "rotation=-180/consistency": 0.5,  # (4, 4) becomes (3, 3)
        "rotation=0/consistency": 1.0,
        "rotation=180/consistency": 0.5,
        "rotation/consistency": 0.5,
        "consistency": 0.375,
        "worst/consistency": 0.0,
        "unmoved/accuracy": 1.0,
    }
    assert found.n == 30
    data = Points()
    assert found.samples["index"].tolist() == data.split("test").index.tolist()
    assert found.samples["correct"].all()
    views = [view.key for view in asked.grid.views()]
    right = found.samples["consistent"][views.index("shift_x=1")]
    assert right.tolist() == (data.split("test").targets == 0).tolist()


def test_some_of_the_images():
    asked = entry(measure="consistency", grid=SHIFTS, images=10)
    found = measured(consistency, asked, Answers(at_point), Points())
    assert found.n == len(found.samples["index"]) == found.samples["consistent"].shape[1] == 10
    assert found.values["shift_x=1/consistency"] == 0.5  # the classes in equal numbers


def test_a_grid_that_moves_nothing_has_no_mean():
    still = {"rotation": {"start": 0, "stop": 360, "step": 360}}
    asked = entry(measure="consistency", grid=still)
    found = measured(consistency, asked, Answers(at_point), Points())
    assert found.values.keys() == {
        "rotation=0/consistency",
        "rotation=360/consistency",
        "unmoved/accuracy",
    }
    (note,) = found.notes
    assert "rotation" in note


def test_several_objects_are_compared_as_a_set():
    targets = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
    said = torch.tensor([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0], [3.0, 2.0, 1.0]])
    classes = predicted_classes(said, targets)
    assert classes.tolist() == [
        [True, True, False],
        [True, True, False],
        [True, False, True],
        [True, False, False],  # one object, whatever stands beside it in the batch
    ]
    assert consistency.agreement(classes[0].expand(4, 3), classes[None]).tolist() == [
        [True, True, False, False]
    ]


def test_what_is_no_number_is_never_right_and_agrees_with_nothing():
    said = torch.tensor([[torch.nan, 0.0], [0.0, -torch.inf]])
    targets = torch.tensor([0, 0])
    classes = predicted_classes(said, targets)
    assert classes.tolist() == [[False, False], [True, False]]
    assert class_recall(said, targets).tolist() == [0, 1]
    assert class_recall(said, torch.eye(2).long()[targets]).tolist() == [0, 1]
    assert consistency.agreement(classes, classes[None]).tolist() == [[False, True]]
    confidence, correct = top_label(said, targets)
    assert confidence.tolist() == [0, 1]
    assert correct.tolist() == [False, True]


def test_worst_of_draws_that_are_known():
    """Shifted by a whole pixel to either side or not at all, class 1 leaves where it is moved."""
    moves = {"shift": {"values": [0, 8]}}
    asked = entry(measure="worst-of-k", views=moves, k=3)
    found = measured(worst_of_k, asked, Answers(at_point), Points())
    correct = found.samples["correct"]
    assert correct.shape == (3, 30)
    targets = Points().split("test").targets.numpy()
    assert correct[:, targets == 0].all()  # no point, no class 1
    assert 0 < correct[:, targets == 1].mean() < 1
    assert found.values["random/accuracy"] == pytest.approx(correct.mean())
    assert found.values["worst/accuracy"] == pytest.approx(correct.all(axis=0).mean())
    assert found.values["k=1/accuracy"] == found.values["random/accuracy"]
    assert found.values["k=3/accuracy"] == pytest.approx(found.values["worst/accuracy"])
    pairs = [correct[list(pair)].all(axis=0) for pair in ((0, 1), (0, 2), (1, 2))]
    assert found.values["k=2/accuracy"] == pytest.approx(np.mean(pairs))
    worst = np.take_along_axis(correct, found.samples["worst"][None], axis=0)[0]
    assert worst.tolist() == correct.all(axis=0).tolist()
    at_truth = torch.log_softmax(torch.tensor([0.5, -0.5]), dim=0)[0]
    assert found.samples["loss"][correct] == pytest.approx(-float(at_truth))


def test_draws_are_a_table_by_image_and_draw():
    moves = {"rotation": [-90, 90], "shift": [-3, 3]}
    weights = torch.randn(64, 2, generator=torch.Generator().manual_seed(0))
    model = Answers(lambda images: images.flatten(start_dim=1) @ weights)
    few, many = (
        measured(
            worst_of_k, entry(measure="worst-of-k", views=moves, k=k, images=n), model, Points()
        )
        for k, n in ((2, 10), (5, 30))
    )
    where = np.searchsorted(many.samples["index"], few.samples["index"])
    np.testing.assert_array_equal(few.samples["loss"], many.samples["loss"][:2, where])
    assert len(np.unique(many.samples["loss"][0])) > 20  # not one view for all images
    assert (many.samples["loss"][0] != many.samples["loss"][1]).sum() > 20  # nor for all draws


def test_a_part_moves_alone():
    """The object of a turntable moves before its background, which is one grey."""
    moves = {"shift": {"values": [0, 4]}, "part": "object"}

    def background(images):
        """Class 0 where the first pixel is the grey of the background."""
        away = (images[:, 0, 0, 0] - 100 / 255).abs() > 1e-3
        return torch.stack([~away, away], dim=1).float()

    data = Turntable(familiar_test_share=0.5)
    asked = entry(measure="worst-of-k", views=moves, k=2)
    found = measured(worst_of_k, asked, Answers(background), data)
    targets = data.split("familiar").targets.numpy()
    assert found.values["worst/accuracy"] == (targets == 0).mean()


@pytest.mark.parametrize(
    "content",
    [
        {"measure": "consistency", "grid": {"azimuth": {"start": 0, "stop": 9, "step": 3}}},
        {"measure": "consistency", "grid": {}},
        {"measure": "consistency", "grid": SHIFTS, "images": 0},
        {"measure": "worst-of-k"},
        {"measure": "worst-of-k", "views": {}},
        {"measure": "worst-of-k", "views": {"rotation": [0, 9], "azimuth": [0, 9]}},
        {"measure": "worst-of-k", "views": {"rotation": [0, 9]}, "k": 0},
    ],
    ids=["recorded grid", "no grid", "no image", "no views", "still", "recorded views", "no draw"],
)
def test_what_makes_no_sense_is_refused(content):
    with pytest.raises(ValidationError):
        entry(**content)
