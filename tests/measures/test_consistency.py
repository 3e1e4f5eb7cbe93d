"""Consistency of predictions, of models that depend on one pixel."""

import pytest
import torch
from pydantic import ValidationError

from capsbench.contracts import predicted_classes
from capsbench.measures.consistency import ConsistencyConfig, same_prediction
from tests.measures.computing import compute, number, numbers
from tests.measures.function_model import FunctionModel
from tests.measures.points import BrightPixels, by_point

SHIFTS = {"shift_x": {"start": -1, "stop": 1, "step": 1}}
MODEL = FunctionModel(by_point)


def test_consistency_by_view_by_factor_and_over_all():
    grid = {**SHIFTS, "rotation": {"start": -180, "stop": 180, "step": 180}}
    data = BrightPixels()
    result = compute("consistency", MODEL, data, grid=grid)
    # A shift to the left moves points of class 0 to (4, 4), and points of class 1 away.
    assert numbers(result) == {
        "consistency[factor=shift_x,view=-1]": 0.0,
        "consistency[factor=shift_x,view=0]": 1.0,
        "consistency[factor=shift_x,view=1]": 0.5,
        "consistency[factor=shift_x]": 0.25,
        "consistency[factor=rotation,view=-180]": 0.5,  # (4, 4) becomes (3, 3)
        "consistency[factor=rotation,view=0]": 1.0,
        "consistency[factor=rotation,view=180]": 0.5,
        "consistency[factor=rotation]": 0.5,
        "consistency": 0.375,
        "worst_consistency": 0.0,
        "accuracy": 1.0,
    }
    assert {value.n for value in result.values} == {30}
    assert result.per_image["index"].tolist() == data.split("test").index.tolist()
    assert result.per_image["accuracy"].all()
    views = ConsistencyConfig(measure="consistency", grid=grid).grid.views()
    right = result.per_image["consistent"][[view.key for view in views].index("shift_x=1")]
    assert right.tolist() == (data.split("test").targets == 0).tolist()
    assert result.per_image["consistency"].mean() == pytest.approx(0.375)


def test_a_subset_of_the_images_has_balanced_classes():
    result = compute("consistency", MODEL, BrightPixels(), grid=SHIFTS, images=10)
    assert {value.n for value in result.values} == {10}
    assert len(result.per_image["index"]) == result.per_image["consistent"].shape[1] == 10
    assert number(result, metric="consistency", factor="shift_x", view=1) == 0.5


def test_a_grid_that_changes_nothing_has_no_mean():
    grid = {"rotation": {"start": 0, "stop": 360, "step": 360}}
    result = compute("consistency", MODEL, BrightPixels(), grid=grid)
    assert numbers(result).keys() == {
        "consistency[factor=rotation,view=0]",
        "consistency[factor=rotation,view=360]",
        "accuracy",
    }
    assert "consistency" not in result.per_image
    (note,) = result.notes
    assert "rotation" in note


def test_several_objects_are_compared_as_a_set():
    targets = torch.tensor([[1, 1, 0], [1, 1, 0], [1, 1, 0], [1, 0, 0]])
    scores = torch.tensor([[3.0, 2.0, 1.0], [2.0, 3.0, 1.0], [3.0, 1.0, 2.0], [3.0, 2.0, 1.0]])
    classes = predicted_classes(scores, targets)
    agree = same_prediction(classes[0].expand(4, 3), classes)
    assert agree.tolist() == [True, True, False, False]


def test_nan_agrees_with_nothing():
    scores = torch.tensor([[torch.nan, 0.0], [0.0, -torch.inf]])
    classes = predicted_classes(scores, torch.tensor([0, 0]))
    assert same_prediction(classes, classes).tolist() == [False, True]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grid": {"azimuth": {"start": 0, "stop": 9, "step": 3}}}, "azimuth"),
        ({"grid": {}}, "at least one factor"),
        ({"grid": SHIFTS, "images": 0}, "images"),
    ],
    ids=["recorded grid", "no grid", "no image"],
)
def test_wrong_arguments_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        ConsistencyConfig.model_validate({"measure": "consistency", **content})
