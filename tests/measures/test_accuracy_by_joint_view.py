"""Accuracy by joint view, compared with naive loops over views and images."""

from statistics import fmean

import numpy as np
import pytest
import torch
from pydantic import ValidationError

from capsbench.measures._swept_views import ViewPredictions
from capsbench.measures.accuracy_by_joint_view import (
    AccuracyByJointViewConfig,
    image_contributions,
    summary_weights,
)
from capsbench.names import find
from capsbench.values import Quantity, select
from capsbench.viewpoint.joint import JointGrid
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.render import render
from capsbench.viewpoint.views import Views
from tests.measures.computing import compute, number, numbers
from tests.measures.function_model import FunctionModel
from tests.measures.marked import Marked, by_first_pixel

GRID = {
    "rotation": {"start": -180, "stop": 180, "step": 90},
    "scale": {"start": 0.5, "stop": 1.5, "step": 0.5},
}
RECORDED = {
    "azimuth": {"start": 0, "stop": 270, "step": 90},
    "elevation": {"start": 30, "stop": 40, "step": 10},
}


def at(first, second, split):
    (factor, value), (other, other_value) = first, second
    return {"metric": "accuracy", "split": split, "factor": factor, "view": value} | {
        other: other_value
    }


def test_a_grid_of_rotation_and_scale_is_a_naive_loop():
    data = find("datamodules", "digits").load()(limit=90, views=ViewRange(rotation=[-9, 9]))
    torch.manual_seed(0)
    model = find("models", "cnn-small").load()(image_shape=(1, 32, 32), num_classes=10, width=2)
    model.eval()
    result = compute("accuracy-by-joint-view", model, data, grid=GRID)
    split = data.split("test")
    accuracies = {}
    for rotation in (-180, -90, 0, 90, 180):
        for scale in (0.5, 1.0, 1.5):
            view = Views.identity(1)
            view.rotation[:], view.scale[:] = rotation, scale
            images = render(split.images, view, (32, 32))
            with torch.no_grad():
                correct = model(images).scores.argmax(dim=1) == split.targets
            is_familiar = rotation == 0 and scale == 1
            measured = number(
                result,
                **at(
                    ("rotation", rotation),
                    ("scale", scale),
                    "familiar" if is_familiar else "outside",
                ),
            )
            assert measured == pytest.approx(correct.double().mean().item())
            accuracies[rotation, scale] = measured
    accuracies = {key: value for key, value in accuracies.items() if key[0] != 180}  # is -180
    familiar = accuracies.pop((0, 1.0))
    assert number(result, metric="accuracy", split="familiar") == familiar
    assert number(result, metric="accuracy", split="novel") == pytest.approx(
        fmean(accuracies.values())
    )
    gap = familiar - fmean(accuracies.values())
    assert number(result, metric="gap") == pytest.approx(gap)
    lowest = min([familiar, *accuracies.values()])
    assert number(result, metric="worst_accuracy") == pytest.approx(lowest)
    excess = [
        accuracies[rotation, scale] - min(accuracies[rotation, 1.0], accuracies[0, scale])
        for rotation in (-180, -90, 90)
        for scale in (0.5, 1.5)
    ]
    assert number(result, metric="interaction") == pytest.approx(fmean(excess))
    assert {value.n for value in result.values} == {len(split)}
    assert result.per_image["index"].tolist() == split.index.tolist()


def test_two_recorded_factors_select_images():
    data = Marked(views=ViewRange(azimuth={"values": [0, 90]}, elevation=30))
    result = compute("accuracy-by-joint-view", FunctionModel(by_first_pixel), data, grid=RECORDED)
    for azimuth, elevation in [(a, e) for a in (0, 90, 180, 270) for e in (30, 40)]:
        is_familiar = azimuth < 180 and elevation == 30
        fields = at(
            ("azimuth", azimuth),
            ("elevation", elevation),
            "familiar" if is_familiar else "outside",
        )
        assert number(result, **fields) == (1 if azimuth < 180 else 0.5)
    views = [value for value in result.values if value.view is not None]
    assert [value.n for value in views] == [4] * 8
    assert result.per_image["evaluated"].sum(axis=0).tolist() == [1] * 32
    assert number(result, metric="accuracy", split="novel") == pytest.approx((2 + 4 * 0.5) / 6)
    # Elevation 40 alone has 1; azimuths 180 and 270 alone have the lower 0.5, and so have both.
    assert number(result, metric="interaction") == 0
    (novel,) = select(result.values, split="novel", view=None)
    assert novel.n == 24


def test_a_warp_and_a_recorded_factor():
    data = Marked(views=ViewRange(azimuth={"values": [0, 90]}))
    grid = {"rotation": {"start": 0, "stop": 90, "step": 90}, "azimuth": RECORDED["azimuth"]}
    result = compute("accuracy-by-joint-view", FunctionModel(by_first_pixel), data, grid=grid)
    upright = at(("rotation", 0.0), ("azimuth", 90.0), "familiar")
    turned = at(("rotation", 90.0), ("azimuth", 90.0), "outside")
    assert number(result, **upright) == 1
    assert number(result, **turned) == 0.5  # the mark has left the first pixel


def by_all_pixels(images):
    """Return scores (B, 10) that differ from image to image."""
    weights = torch.linspace(-1, 1, 10 * images[0].numel()).sin().view(-1, 10)
    return images.flatten(start_dim=1) @ weights


@pytest.mark.parametrize(
    ("data", "function", "grid"),
    [
        (find("datamodules", "digits").load()(limit=90), by_all_pixels, GRID),
        (
            Marked(views=ViewRange(azimuth={"values": [0, 90]}, elevation=30)),
            by_first_pixel,
            RECORDED,
        ),
    ],
    ids=["all images at each view", "other images at each view"],
)
def test_the_mean_over_images_is_the_value(data, function, grid):
    result = compute("accuracy-by-joint-view", FunctionModel(function), data, grid=grid)
    values = numbers(result)
    expected = {"accuracy[split=familiar]", "accuracy[split=novel]", "gap", "interaction"}
    if data.turned_alike:
        expected.add("merged_accuracy[split=novel,classes=6 and 9]")
    assert expected == result.per_image.keys() - {"correct", "evaluated", "index"}
    for name in expected:
        array = result.per_image[name]
        assert array.shape == result.per_image["index"].shape
        assert np.mean(array) == pytest.approx(values[name], abs=1e-9)


def test_contributions_are_the_derivative_by_the_weight_of_an_image():
    """Without an image, a sum of ratios changes by its contribution's deviation / (N - 1)."""
    random = np.random.default_rng(0)
    evaluated = random.random((3, 4000)) < 0.6
    correct = evaluated & (random.random((3, 4000)) < 0.7)
    weights = np.array([0.5, 0.5, -1.0])

    def total(rows):
        return weights @ (correct[:, rows].sum(axis=1) / evaluated[:, rows].sum(axis=1))

    everything = np.arange(4000)
    accuracies = correct.sum(axis=1) / evaluated.sum(axis=1)
    contributions = image_contributions(
        weights, ViewPredictions(correct, evaluated, everything, accuracies)
    )
    for image in range(20):
        jackknife = 3999 * (total(everything) - total(np.delete(everything, image)))
        assert contributions[image] - total(everything) == pytest.approx(jackknife, abs=2e-3)


def test_between_differs_from_outside():
    grid = JointGrid.model_validate(
        {
            "rotation": {"start": 0, "stop": 60, "step": 30},
            "scale": {"start": 1, "stop": 2, "step": 1},
        }
    )
    accuracies = np.array([0.9, 0.8, 0.6, 0.4, 0.7, 0.2])
    ranges = ViewRange(rotation={"values": [0, 60]}, scale=1)
    weights = summary_weights(grid, accuracies, ranges)
    sums = {quantity.name: each @ accuracies for quantity, each in weights.items()}
    assert sums["accuracy[split=familiar]"] == pytest.approx((0.9 + 0.7) / 2)
    assert sums["accuracy[split=between]"] == pytest.approx(0.6)
    assert sums["accuracy[split=outside]"] == pytest.approx((0.8 + 0.4 + 0.2) / 3)
    # The only view with two novel values is (30, 2); alone, they have 0.6 and (0.8 + 0.2) / 2.
    assert sums["interaction"] == pytest.approx(0.4 - 0.5)


def test_without_views_of_two_novel_values_there_is_no_interaction():
    grid = JointGrid.model_validate(GRID)
    weights = summary_weights(grid, np.ones(len(grid)), ViewRange(scale=[0.5, 1.5]))
    assert Quantity(metric="gap") in weights
    assert Quantity(metric="interaction") not in weights


def test_wrong_grids_are_named():
    content = {"measure": "accuracy-by-joint-view", "grid": {"rotation": GRID["rotation"]}}
    with pytest.raises(ValidationError, match="exactly two factors"):
        AccuracyByJointViewConfig.model_validate(content)
