"""Spatial equivariance as a measure: layers that are known functions of the image."""

import pytest
from pydantic import ValidationError
from torch.nn.functional import avg_pool2d

from capsbench.measures._image_subset import subset_rows
from capsbench.measures._warped_maps import MapWarp
from capsbench.measures.spatial_equivariance import SpatialEquivarianceConfig
from capsbench.metrics.invariance import invariance_error
from capsbench.names import find
from capsbench.values import select
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp
from tests.measures.computing import compute, number
from tests.measures.layered import Layered, convolution, orbit_mean, random

FITTED = ("explained", "shuffled_explained", "gain_over_control", "pose_error")
SHIFTS = {"shift_x": {"start": -2, "stop": 2, "step": 2}}
TURNS = {"rotation": {"start": 0, "stop": 180, "step": 90}}
KERNEL = random(3, 1, 3, 3, seed=1)
SYMMETRIC = orbit_mean(lambda kernel: kernel)(KERNEL)


def measured(model, **arguments):
    data = find("datamodules", "digits").load()()
    arguments = {"grid": SHIFTS, "images": 60, **arguments}
    return compute("spatial-equivariance", model.eval(), data, **arguments)


def error(result, layer, factor, view=None, metric="spatial_error"):
    place = {"factor": factor} | ({} if view is None else {"view": view})
    return number(result, metric=metric, layer=layer, **place)


def test_a_convolution_is_equivariant_and_a_fixed_mask_is_not():
    strided = convolution(KERNEL, stride=2)
    model = Layered(
        conv=(convolution(KERNEL), "map"),
        strided=(strided, "map", {"stride": 2.0}),
        misplaced=(strided, "map", {"stride": 1.0}),
        masked=(lambda images: convolution(KERNEL)(images) * random(32, 32), "map"),
    )
    result = measured(model)
    for view in (2, -2, None):
        assert error(result, "pixels", "shift_x", view) == 0
        assert error(result, "conv", "shift_x", view) < 1e-6
        assert error(result, "strided", "shift_x", view) < 1e-6
        assert error(result, "conv", "shift_x", view, "interpolation_error") == 0
        assert error(result, "misplaced", "shift_x", view) > 0.2
        assert error(result, "masked", "shift_x", view) > 0.5
    assert result.per_image["spatial_distance[layer=conv]"].shape == (3, 60)
    assert {value.n for value in result.values} == {60}


def test_fits_of_poses_have_the_number_of_held_out_images():
    def poses(images):
        return convolution(random(4, 1, 3, 3, seed=2))(images).permute(0, 2, 3, 1)[..., None, :]

    result = measured(Layered(poses=(poses, "pose")), grid=TURNS)
    counts = {metric: {v.n for v in result.values if v.metric == metric} for metric in FITTED}
    (held_out,) = counts["explained"]
    assert 10 < held_out < 30
    assert counts == {metric: {held_out} for metric in FITTED}
    assert {value.n for value in select(result.values, metric="spatial_error")} == {60}


def test_maps_are_moved_by_the_whole_homography_of_a_tilt():
    coarse = (lambda images: avg_pool2d(images, 2), "map", {"stride": 2.0, "offset": 0.5})
    misplaced = (coarse[0], "map", {"stride": 2.0, "offset": 8.0})
    model = Layered(coarse=coarse, misplaced=misplaced)
    grid = {axis: {"start": -70, "stop": 70, "step": 70} for axis in ("tilt_x", "tilt_y")}
    result = measured(model, grid=grid)
    for factor in grid:
        for view in (-70, 70):
            assert error(result, "pixels", factor, view) < 1e-6
            assert error(result, "coarse", factor, view) < 0.3
            assert error(result, "misplaced", factor, view) > 0.6
            interpolation = error(result, "pixels", factor, view, "interpolation_error")
            assert 0 < interpolation < 0.4


def test_quarter_turns_of_symmetric_and_other_filters():
    model = Layered(symmetric=(convolution(SYMMETRIC), "map"), other=(convolution(KERNEL), "map"))
    result = measured(model, grid=TURNS)
    assert error(result, "symmetric", "rotation") < 1e-6
    assert error(result, "other", "rotation", 90) > 0.2


def test_numbers_are_those_of_the_definition():
    coarse = {"stride": 2.0, "offset": 0.5}

    def pooled(images):
        return avg_pool2d(convolution(KERNEL)(images), 2)

    grid = {"rotation": {"start": 30, "stop": 30, "step": 30}}
    model = Layered(pooled=(pooled, "map", coarse))
    result = measured(model, grid=grid, layers=["pooled"], margin=4)
    data = find("datamodules", "digits").load()()
    rows = subset_rows(data, 60)
    still = data.evaluation.get_batch("familiar", rows, Views.identity(1))
    moved = data.evaluation.get_batch("familiar", rows, GridView("rotation", 30))
    view = Views.of_grid([GridView("rotation", 30)])
    f_x, f_gx = pooled(still.images), pooled(moved.images)
    moving = MapWarp.of(view, (16, 16), (32, 32), margin=2.0, **coarse)
    turned, seen = (each.where(moving.positions, 0) for each in (warp(f_x, moving.matrix), f_gx))
    expected = invariance_error(turned, seen, still.targets)
    interpolation = invariance_error(*moving.round_trip(f_x))
    at = ("pooled", "rotation", 30)
    assert error(result, *at) == pytest.approx(expected.error.item(), rel=1e-6)
    class_error = number(result, metric="spatial_class_error", layer="pooled")
    assert class_error == pytest.approx(expected.class_error.item(), rel=1e-6)
    round_trip = error(result, *at, metric="interpolation_error")
    assert round_trip == pytest.approx(interpolation.error.item(), rel=1e-6)
    without_margin = measured(model, grid=grid, layers=["pooled"])
    assert error(without_margin, *at) != error(result, *at)


def test_presences_at_places_are_maps_and_other_layers_are_left_out():
    def channels_last(images):
        return convolution(KERNEL)(images).sigmoid().permute(0, 2, 3, 1)

    model = Layered(
        map=(lambda images: convolution(KERNEL)(images).sigmoid(), "map"),
        presences=(channels_last, "presence"),
        listed=(lambda images: channels_last(images).flatten(1), "presence"),
        poses=(lambda images: channels_last(images)[..., None].repeat(1, 1, 1, 1, 4), "pose"),
        vector=(lambda images: images.flatten(1), "vector"),
    )
    result = measured(model, grid={"rotation": {"start": 45, "stop": 90, "step": 45}})
    for view in (45, 90):
        expected = error(result, "map", "rotation", view)
        assert error(result, "presences", "rotation", view) == pytest.approx(expected, 1e-6)
        assert error(result, "poses", "rotation", view) == pytest.approx(expected, 1e-6)
        assert expected > 0.01
    assert {value.layer for value in result.values} == {"pixels", "map", "presences", "poses"}
    left_out = {note.split(" is left out")[0] for note in result.notes if " is left out" in note}
    assert left_out == {"listed", "vector", "probabilities"}


def test_a_module_by_its_path_needs_a_known_stride():
    model = Layered(
        conv=(convolution(KERNEL), "map"), strided=(convolution(KERNEL, stride=2), "map")
    )
    model.layers = {}
    result = measured(model, layers=["functions.conv", "functions.strided"])
    assert error(result, "functions.conv", "shift_x") < 1e-6
    note, borders = result.notes
    assert "functions.strided" in note and "stride is not known" in note
    assert "border" in borders
    within = measured(model, layers=["functions.conv"], margin=2)
    assert within.notes == ()


def test_a_view_without_common_places_is_left_out():
    result = measured(Layered(), grid={"shift_y": {"start": 0, "stop": 40, "step": 40}})
    assert error(result, "pixels", "shift_y", 0) == 0
    assert not select(result.values, metric="spatial_error", layer="pixels", view=40)
    assert any("undefined (0/0)" in note and "view=40" in note for note in result.notes)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grid": {"brightness": {"start": 0, "stop": 1, "step": 1}}}, "brightness"),
        ({"grid": {"elevation": {"start": 30, "stop": 40, "step": 5}}}, "elevation"),
        ({"grid": {**SHIFTS, "part": "object"}}, "whole image"),
        ({"margin": -1}, "greater than or equal to 0"),
    ],
    ids=["light", "recorded", "part", "margin"],
)
def test_invalid_arguments_are_refused(content, message):
    content = {"measure": "spatial-equivariance", "grid": SHIFTS, **content}
    with pytest.raises(ValidationError, match=message):
        SpatialEquivarianceConfig.model_validate(content)
