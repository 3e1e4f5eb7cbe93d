"""Accuracy by view, of models whose accuracy is known."""

import numpy as np
import pytest
import torch

from capsbench.contracts import Model, Prediction
from capsbench.measures.accuracy_by_view import summarize
from capsbench.names import find
from capsbench.values import select
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from tests.data.made_up import AZIMUTHS, Turntable
from tests.measures.computing import compute, number
from tests.measures.function_model import FunctionModel
from tests.measures.marked import Marked, by_first_pixel


class Memory(Model):
    """Recognizes the upright test images pixel by pixel and predicts class 0 for all others."""

    def __init__(self, split):
        super().__init__(image_shape=(1, 32, 32), num_classes=10)
        self.known = split.images.flatten(1).float() / 255
        self.targets = split.targets

    def forward(self, images, views=None):
        exact = "donot_use_mm_for_euclid_dist"
        same = torch.cdist(images.flatten(1), self.known, compute_mode=exact) < 1e-3
        guess = torch.where(same.any(1), self.targets[same.int().argmax(1)], 0)
        return Prediction(torch.nn.functional.one_hot(guess, 10).float())

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def at(factor, view, split):
    return {"metric": "accuracy", "split": split, "factor": factor, "view": view}


def mean(split, factor=None):
    fields = {"metric": "accuracy", "split": split}
    return fields if factor is None else {**fields, "factor": factor}


def test_a_model_that_recognizes_only_upright_images():
    data = find("datamodules", "digits").load()(limit=120, views=ViewRange(rotation=(-10, 10)))
    split = data.split("test")
    result = compute(
        "accuracy-by-view",
        Memory(split),
        data,
        grid={"rotation": {"start": -180, "stop": 180, "step": 90}},
    )
    zeros = (split.targets == 0).float().mean().item()
    assert {value.n for value in result.values} == {120}
    assert number(result, **at("rotation", 0, "familiar")) == 1
    assert number(result, **at("rotation", 90, "outside")) == pytest.approx(zeros)
    assert number(result, **mean("familiar")) == 1
    assert number(result, **mean("novel")) == pytest.approx(zeros)
    assert result.per_image["correct"][2].all()
    assert result.per_image["index"].tolist() == split.index.tolist()
    assert result.per_image["accuracy[split=novel]"].shape == (120,)


def test_a_grid_of_recorded_views():
    data = Marked(views=ViewRange(azimuth={"values": [0, 90]}))
    result = compute(
        "accuracy-by-view",
        FunctionModel(by_first_pixel),
        data,
        grid={
            "azimuth": {"start": 0, "stop": 270, "step": 90},
            "elevation": {"start": 30, "stop": 40, "step": 10},
        },
    )
    by_azimuth = [
        number(result, **at("azimuth", azimuth, "familiar" if azimuth < 180 else "outside"))
        for azimuth in AZIMUTHS
    ]
    assert by_azimuth == [1, 1, 0.5, 0.5]
    # Other recorded factors, here the azimuth, are as in training.
    assert number(result, **at("elevation", 30, "familiar")) == 1
    assert number(result, **mean("novel", "azimuth")) == 0.5
    by_view = [value for value in result.values if value.view is not None]
    assert [value.n for value in by_view] == [8] * 6
    (novel,) = (v for v in select(result.values, split="novel") if v.factor is None)
    assert novel.n == 16
    assert result.per_image["evaluated"].sum() == 48
    assert not result.per_image["correct"][~result.per_image["evaluated"]].any()


def test_an_image_that_was_not_recorded_at_every_view_has_no_mean():
    data = Turntable(views=ViewRange(azimuth={"values": [0]}))
    model = FunctionModel(by_first_pixel)
    grid = {"azimuth": {"start": 0, "stop": 270, "step": 90}}
    result = compute("accuracy-by-view", model, data, grid=grid)
    assert select(result.values, **mean("novel"))
    arrays = {"correct", "evaluated", "index", "predicted", "target"}
    assert result.per_image.keys() == arrays
    predicted, evaluated = result.per_image["predicted"], result.per_image["evaluated"]
    assert ((predicted >= 0) == evaluated).all()


def summary(views, accuracies, ranges):
    evaluated = np.ones((len(views), 5), dtype=bool)
    values = summarize(views, np.array(accuracies), evaluated, ranges)

    def value(**fields):
        metric = fields.pop("metric")
        (match,) = (v for v in select(values, metric=metric) if v.fields == fields)
        return match.value

    return values, value


def test_each_factor_has_the_same_weight_for_any_number_of_views():
    views = [GridView("rotation", v) for v in (-90, 0, 90, 180)] + [
        GridView("scale", v) for v in (1, 2)
    ]
    values, value = summary(views, [0.2, 1.0, 0.4, 0.3, 0.9, 0.7], ViewRange())
    assert value(**mean("novel", "rotation")) == pytest.approx(0.3)
    assert value(**mean("novel")) == pytest.approx((0.3 + 0.7) / 2)
    assert value(**mean("familiar")) == pytest.approx(0.95)
    assert value(metric="gap") == pytest.approx(0.45)
    assert value(metric="worst_accuracy") == 0.2
    assert value(metric="worst_accuracy", factor="rotation") == 0.2
    assert value(metric="worst_accuracy", factor="scale") == 0.7
    trapezoids = (0.6 + 0.7 + 0.35) / 3
    assert value(metric="area", factor="rotation") == pytest.approx(trapezoids)
    assert value(metric="area", factor="scale") == pytest.approx(0.8)
    splits = [row.split for row in values if row.view is not None]
    assert [split == "familiar" for split in splits] == [False, True, False, False, True, False]


def test_views_a_whole_turn_apart_count_once():
    views = [GridView("rotation", angle) for angle in (-180, -90, 0, 90, 180)]
    values, value = summary(views, [0.5, 0.2, 1.0, 0.2, 0.5], ViewRange())
    assert value(**mean("novel", "rotation")) == pytest.approx(0.3)
    assert len([row for row in values if row.view is not None]) == 5


def test_a_grid_without_novel_views_has_no_gap():
    values, value = summary([GridView("rotation", 0)], [0.5], ViewRange())
    assert not select(values, split="novel")
    assert not select(values, metric="gap")
    assert value(metric="area", factor="rotation") == 0.5


def test_views_between_trained_values_differ_from_views_outside():
    views = [GridView("rotation", angle) for angle in (0, 15, 45, 120, 180)]
    ranges = ViewRange(rotation={"values": [-60, -30, 0, 30, 60]})
    values, value = summary(views, [1.0, 0.8, 0.6, 0.2, 0.4], ranges)
    assert value(**mean("between")) == pytest.approx(0.7)
    assert value(**mean("outside")) == pytest.approx(0.3)
    assert value(**mean("novel")) == pytest.approx(0.5)
    splits = [row.split for row in values if row.view is not None]
    assert splits == ["familiar", "between", "between", "outside", "outside"]
    continuous, _ = summary(views, [1.0] * 5, ViewRange(rotation=[-60, 60]))
    means = [row.split for row in continuous if row.metric == "accuracy" and row.view is None]
    assert set(means) == {"familiar", "novel"}
