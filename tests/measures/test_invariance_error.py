"""Invariance error as a measure: layers that are known functions of the image."""

import pytest
import torch
from pydantic import ValidationError

from capsbench.errors import UserError
from capsbench.measures._image_subset import subset_rows
from capsbench.measures.invariance_error import InvarianceErrorConfig
from capsbench.metrics.invariance import invariance_error
from capsbench.names import find
from capsbench.values import select
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from tests.measures.computing import compute, number
from tests.measures.layered import Layered, NoiseImages, TwoClassNoise, orbit_mean, random

TURNS = {"rotation": {"start": -90, "stop": 180, "step": 90}}


def digits(**arguments):
    return find("datamodules", "digits").load()(**arguments)


def measured(model, data=None, **arguments):
    arguments = {"grid": TURNS, "images": 120, **arguments}
    return compute("invariance-error", model.eval(), data or digits(), **arguments)


def error(result, layer, metric="invariance_error", **place):
    return number(result, metric=metric, layer=layer, **place)


def linear(images):
    return images.flatten(1) @ random(1024, 20)


def test_layers_that_are_invariant_by_construction_and_others():
    model = Layered(
        orbits=(orbit_mean(linear), "vector"),
        plain=(linear, "vector"),
        same=(lambda images: torch.ones(len(images), 3), "vector"),
    )
    result = measured(model, images=60)
    assert error(result, "orbits", factor="rotation", view=90) < 1e-6
    assert error(result, "orbits", "invariance_class_error") < 1e-6
    for layer in ("plain", "pixels"):
        assert error(result, layer, factor="rotation", view=180) > 0.9
        assert error(result, layer, factor="rotation", view=0) == 0
    assert not select(result.values, metric="invariance_error", layer="same")
    assert (
        error(result, "same", "invariance_change")
        == error(result, "same", "invariance_spread")
        == 0
    )
    (note,) = result.notes
    assert "undefined (0/0)" in note
    assert "invariance_error[factor=rotation,view=-90,layer=same]" in note


def test_numbers_are_those_of_the_definition():
    data = digits(views=ViewRange(rotation=(-30, 30)))  # images as stored, whatever was trained
    grid = {"shift_x": {"start": -3, "stop": 3, "step": 3}, "contrast": {**TURNS["rotation"],
            "start": 0.5, "stop": 1, "step": 0.5}}  # fmt: skip
    result = measured(Layered(plain=(linear, "vector")), data, grid=grid, layers=["plain"])
    rows = subset_rows(data, 120)
    still = data.evaluation.get_batch("familiar", rows, Views.identity(1))
    errors, apart = {}, {}
    for factor, value in (("shift_x", -3), ("shift_x", 3), ("contrast", 0.5)):
        moved = data.evaluation.get_batch("familiar", rows, GridView(factor, value))
        f_x, f_gx = linear(still.images), linear(moved.images)
        one = errors[factor, value] = invariance_error(f_x, f_gx, still.targets)
        apart[factor, value] = (f_gx - f_x).norm(dim=1)
        for key, expected in {
            "error": one.error,
            "change": one.change,
            "spread": one.spread,
            "class_error": one.class_error,
            "class_spread": one.class_spread,
        }.items():
            one_view = error(result, "plain", f"invariance_{key}", factor=factor, view=value)
            assert one_view == pytest.approx(expected.item(), rel=1e-6)
    both = torch.stack([errors["shift_x", value].change for value in (-3, 3)])
    assert error(result, "plain", "invariance_change", factor="shift_x") == pytest.approx(
        both.square().mean().sqrt().item(), rel=1e-6
    )
    every = torch.stack([one.change for one in errors.values()])  # the identities do not dilute it
    assert error(result, "plain", "invariance_change") == pytest.approx(
        every.square().mean().sqrt().item(), rel=1e-6
    )
    assert {value.n for value in result.values} == {120}
    assert result.per_image["index"].tolist() == still.index.tolist()
    distances = result.per_image["invariance_distance[layer=plain]"]
    assert distances.shape == (5, 120)
    torch.testing.assert_close(torch.from_numpy(distances[2]), apart["shift_x", 3])
    assert (distances[[1, 4]] == 0).all()


def test_a_model_without_declared_layers_has_pixels_and_probabilities():
    result = measured(Layered(), images=20)
    assert {value.layer for value in result.values} == {"pixels", "probabilities"}
    assert result.notes == ()


def test_images_of_several_objects_have_no_error_within_a_class():
    model = Layered((1, 4, 4), 2)
    result = measured(model, TwoClassNoise())
    assert error(result, "pixels", factor="rotation", view=90) > 0.5
    assert not any("class" in value.metric for value in result.values)
    assert any("several objects" in note for note in result.notes)
    assert any("class" in value.metric for value in measured(model, NoiseImages()).values)


def test_unknown_layers_are_refused():
    with pytest.raises(UserError, match="hiden"):
        measured(Layered(), layers=["hiden"])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"grid": {"azimuth": {"start": 0, "stop": 90, "step": 90}}}, "azimuth"),
        ({"grid": {}}, "at least one factor"),
        ({"layers": []}, "at least 1 item"),
        ({"layers": ["a", "a"]}, "layers"),
        ({"images": 1}, "greater than or equal to 2"),
        ({"margin": 1}, "not permitted"),
    ],
    ids=["recorded", "empty grid", "no layer", "a layer twice", "one image", "unknown argument"],
)
def test_invalid_arguments_are_refused(content, message):
    content = {"measure": "invariance-error", "grid": TURNS, **content}
    with pytest.raises(ValidationError, match=message):
        InvarianceErrorConfig.model_validate(content)
