"""Accuracy by view, on models whose accuracy is known."""

import pytest
import torch

from capsbench import measures
from capsbench.contracts import Model, Prediction
from capsbench.measures.accuracy_by_view import AccuracyByView, measure, summarize
from capsbench.names import find
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange


class Oracle(Model):
    """Knows the upright test images by heart and says class 0 to anything else."""

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


def test_an_oracle_of_upright_images():
    data = find("datamodules", "digits").load()(limit=120, views=ViewRange(rotation=(-10, 10)))
    split = data.split("test")
    entry = measures.AccuracyByView.model_validate(
        {
            "measure": "accuracy-by-view",
            "grid": {"rotation": {"start": -180, "stop": 180, "step": 90}},
        }
    )
    steps = []
    measured = measure(entry, Oracle(split), data, "cpu", lambda: steps.append(1))
    zeros = (split.targets == 0).float().mean().item()
    assert len(steps) == 5
    assert measured.n == 120
    assert measured.values["rotation=0/accuracy"] == 1
    assert measured.values["rotation=90/accuracy"] == pytest.approx(zeros)
    assert measured.values["familiar/accuracy"] == 1
    assert measured.values["novel/accuracy"] == pytest.approx(zeros)
    assert measured.samples["correct"][2].all()
    assert measured.samples["index"].tolist() == split.index.tolist()


def test_factors_count_the_same_whatever_their_number_of_views():
    views = [GridView("rotation", v) for v in (-90, 0, 90, 180)] + [
        GridView("scale", v) for v in (1, 2)
    ]
    values, rows = summarize(views, [0.2, 1.0, 0.4, 0.3, 0.9, 0.7], ViewRange())
    assert values["rotation/novel/accuracy"] == pytest.approx(0.3)
    assert values["novel/accuracy"] == pytest.approx((0.3 + 0.7) / 2)
    assert values["familiar/accuracy"] == pytest.approx(0.95)
    assert values["gap"] == pytest.approx(0.45)
    assert values["worst/accuracy"] == values["rotation/worst"] == 0.2
    assert values["rotation/area"] == pytest.approx((0.6 + 0.7 + 0.35) / 3)  # trapezoids
    assert values["scale/area"] == pytest.approx(0.8)
    assert [row["familiar"] for row in rows] == [False, True, False, False, True, False]


def test_upside_down_counts_once_though_it_is_drawn_at_both_ends():
    views = [GridView("rotation", angle) for angle in (-180, -90, 0, 90, 180)]
    values, rows = summarize(views, [0.5, 0.2, 1.0, 0.2, 0.5], ViewRange())
    assert values["rotation/novel/accuracy"] == pytest.approx(0.3)
    assert len(rows) == 5


def test_a_grid_without_novel_views_has_no_gap():
    values, _ = summarize([GridView("rotation", 0)], [0.5], ViewRange())
    assert "novel/accuracy" not in values
    assert "gap" not in values
    assert values["rotation/area"] == 0.5


def test_the_metric_counts_the_images_of_each_view_and_draws_itself():
    metric = AccuracyByView(3)
    metric.update(0, torch.tensor([True, False, True]))
    metric.update(0, torch.tensor([True]))
    metric.update(2, torch.tensor([False, False]))
    assert metric.compute().tolist() == pytest.approx([0.75, float("nan"), 0.0], nan_ok=True)
    _, axes = metric.plot()
    assert axes.get_xlabel() == "view"
