"""The spatial equivariance error of layers of models that are known, end to end."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch.nn.functional import avg_pool2d

from capsbench.measures import MeasureEntry
from capsbench.measures._image_subset import subset_rows
from capsbench.measures._warped_maps import interpolation_error, spatial_equivariance_error
from capsbench.measures.spatial_equivariance import measure
from capsbench.names import find
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from tests.measures.layered import Layered, convolution, orbit_mean, random

SHIFTS = {"shift_x": {"start": -2, "stop": 2, "step": 2}}
TURNS = {"rotation": {"start": 0, "stop": 180, "step": 90}}
KERNEL = random(3, 1, 3, 3, seed=1)
SYMMETRIC = orbit_mean(lambda kernel: kernel)(KERNEL)


def entry(**arguments):
    content = {"measure": "spatial-equivariance", "grid": SHIFTS, "images": 60, **arguments}
    return TypeAdapter(MeasureEntry).validate_python(content)


def measured(model, **arguments):
    asked, steps = entry(**arguments), []
    data = find("datamodules", "digits").load()()
    found = measure(asked, model.eval(), data, "cpu", lambda: steps.append(1))
    assert len(steps) == asked.steps
    return found


def error(found, view, layer, name="spatial"):
    return found.values[f"{view}/equivariance/{name}/error@{layer}"]


def test_a_convolution_moves_with_the_image_and_a_fixed_mask_does_not():
    strided = convolution(KERNEL, stride=2)
    model = Layered(
        conv=(convolution(KERNEL), "map"),
        strided=(strided, "map", {"stride": 2.0}),
        misplaced=(strided, "map", {"stride": 1.0}),
        masked=(lambda images: convolution(KERNEL)(images) * random(32, 32), "map"),
    )
    found = measured(model)
    for view in ("shift_x=2", "shift_x=-2", "shift_x"):
        assert error(found, view, "pixels") == 0
        assert error(found, view, "conv") < 1e-6
        assert error(found, view, "strided") < 1e-6
        assert error(found, view, "conv", "interpolation") == 0
        assert error(found, view, "misplaced") > 0.2
        assert error(found, view, "masked") > 0.5
    assert found.samples["equivariance/spatial/distance@conv"].shape == (3, 60)
    assert found.n == 60


def test_quarter_turns_of_symmetric_and_other_filters():
    model = Layered(symmetric=(convolution(SYMMETRIC), "map"), other=(convolution(KERNEL), "map"))
    found = measured(model, grid=TURNS)
    assert error(found, "rotation", "symmetric") < 1e-6
    assert error(found, "rotation=90", "other") > 0.2


def test_numbers_are_those_of_the_definition():
    coarse = {"stride": 2.0, "offset": 0.5}

    def pooled(images):
        return avg_pool2d(convolution(KERNEL)(images), 2)

    grid = {"rotation": {"start": 30, "stop": 30, "step": 30}}
    model = Layered(pooled=(pooled, "map", coarse))
    found = measured(model, grid=grid, layers=["pooled"], margin=4)
    data = find("datamodules", "digits").load()()
    rows = subset_rows(data, 60)
    still = data.evaluation.get_batch("familiar", rows, Views.identity(1))
    moved = data.evaluation.get_batch("familiar", rows, GridView("rotation", 30))
    view = Views.of_grid([GridView("rotation", 30)])
    f_x, f_gx = pooled(still.images), pooled(moved.images)
    how = {"margin": 2.0, **coarse}
    expected = spatial_equivariance_error(f_x, f_gx, view, (32, 32), classes=still.targets, **how)
    lost = interpolation_error(f_x, view, (32, 32), **how)
    assert error(found, "rotation=30", "pooled") == pytest.approx(expected.error.item(), rel=1e-6)
    assert found.values["equivariance/spatial/class error@pooled"] == pytest.approx(
        expected.class_error.item(), rel=1e-6
    )
    assert error(found, "rotation=30", "pooled", "interpolation") == pytest.approx(
        lost.error.item(), rel=1e-6
    )
    whole = measured(model, grid=grid, layers=["pooled"])
    assert error(whole, "rotation=30", "pooled") != error(found, "rotation=30", "pooled")


def test_presences_on_a_map_are_scalar_fields_and_other_layers_are_left_out():
    def channels_last(images):
        return convolution(KERNEL)(images).sigmoid().permute(0, 2, 3, 1)

    model = Layered(
        map=(lambda images: convolution(KERNEL)(images).sigmoid(), "map"),
        presences=(channels_last, "presence"),
        listed=(lambda images: channels_last(images).flatten(1), "presence"),
        poses=(lambda images: channels_last(images)[..., None].repeat(1, 1, 1, 1, 4), "pose"),
        vector=(lambda images: images.flatten(1), "vector"),
    )
    found = measured(model, grid={"rotation": {"start": 45, "stop": 90, "step": 45}})
    for view in ("rotation=45", "rotation=90"):
        assert error(found, view, "presences") == pytest.approx(error(found, view, "map"), 1e-6)
        assert error(found, view, "map") > 0.01
        assert error(found, view, "poses") == pytest.approx(error(found, view, "map"), 1e-6)
    assert {key.split("@")[1] for key in found.values} == {"pixels", "map", "presences", "poses"}
    left_out = {note.split(" is left out")[0] for note in found.notes if " is left out" in note}
    assert left_out == {"listed", "vector", "probabilities"}


def test_a_module_by_its_path_needs_a_known_stride():
    model = Layered(
        conv=(convolution(KERNEL), "map"), strided=(convolution(KERNEL, stride=2), "map")
    )
    model.layers = {}
    found = measured(model, layers=["functions.conv", "functions.strided"])
    assert error(found, "shift_x", "functions.conv") < 1e-6
    note, borders = found.notes
    assert note.startswith("functions.strided is left out: its stride is not known")
    assert "look beyond the image's border" in borders
    within = measured(model, layers=["functions.conv"], margin=2)
    assert within.notes == ()


def test_a_view_that_leaves_no_place_is_left_out():
    found = measured(Layered(), grid={"shift_y": {"start": 0, "stop": 40, "step": 40}})
    assert error(found, "shift_y=0", "pixels") == 0
    assert "shift_y=40/equivariance/spatial/error@pixels" not in found.values
    assert any(note.startswith("undefined (0/0): shift_y=40/") for note in found.notes)
    assert all(torch.isfinite(torch.tensor(list(found.values.values()))))


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"grid": {"brightness": {"start": 0, "stop": 1, "step": 1}}}, "brightness"),
        ({"grid": {"elevation": {"start": 30, "stop": 40, "step": 5}}}, "elevation"),
        ({"grid": {**SHIFTS, "part": "object"}}, "whole image"),
        ({"margin": -1}, "greater than or equal to 0"),
    ],
    ids=["light", "recorded", "part", "margin"],
)
def test_what_makes_no_sense_is_refused(content, told):
    with pytest.raises(ValidationError, match=told):
        entry(**content)
