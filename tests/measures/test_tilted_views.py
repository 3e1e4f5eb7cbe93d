"""Measures of views at tilts, as at every other warp."""

import pytest
import torch

from capsbench.contracts import Prediction
from capsbench.names import find
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp
from tests.measures.computing import compute, number
from tests.measures.layered import Layered, random

GRID = {axis: {"start": -70, "stop": 70, "step": 35} for axis in ("tilt_x", "tilt_y")}
RANGE = {"tilt_x": [-70, 70], "tilt_y": [-70, 70], "rotation": [-10, 10]}


class Projected(Layered):
    """Scores are random projections of the image."""

    def forward(self, images, views=None):
        return Prediction(images.flatten(1) @ random(1024, 10))


def digits():
    return find("datamodules", "digits").load()()


def measured(measure, **arguments):
    return compute(measure, Projected().eval(), digits(), **arguments)


def at(result, metric, **fields):
    """Return the values of a metric of both axes at tilts of -70, -35, 0, 35 and 70 degrees."""
    views = (-70, -35, 0, 35, 70)
    return [
        [number(result, metric=metric, factor=factor, view=view, **fields) for view in views]
        for factor in GRID
    ]


@pytest.mark.parametrize(
    ("measure", "metric", "upright", "fields"),
    [
        ("consistency", "consistency", 1, {}),
        ("invariance-error", "invariance_error", 0, {"layer": "pixels"}),
    ],
)
def test_the_steeper_a_tilt_the_larger_the_change(measure, metric, upright, fields):
    for values in at(measured(measure, grid=GRID, images=100), metric, **fields):
        changes = [abs(value - upright) for value in values]
        assert changes[0] > changes[1] > changes[2] == 0
        assert changes[4] > changes[3] > 0


def test_accuracy_at_tilts_and_from_random_ones():
    result = measured("accuracy-by-view", grid=GRID)
    batch = digits().evaluation.get_batch("test", torch.arange(400))
    for factor in GRID:
        for view in (-70, 0, 70):
            tilted = warp(batch.images, Views.of_grid([GridView(factor, view)]).matrices(32, 32))
            hits = Projected()(tilted).scores.argmax(dim=1) == batch.targets
            split = "outside" if view else "familiar"
            accuracy = number(result, metric="accuracy", factor=factor, view=view, split=split)
            assert accuracy == pytest.approx(hits.double().mean().item())
    upright = number(result, metric="accuracy", factor="tilt_x", view=0, split="familiar")
    by_split = measured("accuracy-by-split", splits=["familiar"], ranges={"tilted": RANGE})
    assert number(by_split, metric="accuracy", split="familiar") == upright
    familiar, tilted = (
        by_split.per_image[f"accuracy[split={each}]"] for each in ("familiar", "tilted")
    )
    assert (familiar != tilted).any()
    worst = measured("worst-of-k", views=RANGE, k=3)
    worst_case, mean = (
        number(worst, metric=metric) for metric in ("worst_case_accuracy", "random_accuracy")
    )
    assert worst_case < mean


def test_fitted_maps_of_tilts_have_no_group_law():
    grid = {
        "tilt_x": {"start": 15, "stop": 30, "step": 15},
        "rotation": {"start": 90, "stop": 270, "step": 90},
    }
    result = measured("linear-equivariance", grid=grid, width=2, layers=["pixels"])
    explained = number(result, metric="explained", factor="tilt_x", view=30, layer="pixels")
    assert 0 < explained < 1
    factors = {value.factor for value in result.values if value.metric == "group_law_error"}
    assert factors == {"rotation"}
