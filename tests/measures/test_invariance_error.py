"""The invariance error of layers of models that are known, end to end."""

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from capsbench.errors import UserError
from capsbench.measures import MeasureEntry
from capsbench.measures._image_subset import subset_rows
from capsbench.measures._invariance import invariance_error
from capsbench.measures.invariance_error import measure
from capsbench.names import find
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.views import Views
from tests.measures.layered import Layered, Noise, Pairs, orbit_mean, random

TURNS = {"rotation": {"start": -90, "stop": 180, "step": 90}}


def entry(**arguments):
    content = {"measure": "invariance-error", "grid": TURNS, "images": 120, **arguments}
    return TypeAdapter(MeasureEntry).validate_python(content)


def digits(**arguments):
    return find("datamodules", "digits").load()(**arguments)


def measured(model, data=None, **arguments):
    asked, steps = entry(**arguments), []
    found = measure(asked, model.eval(), data or digits(), "cpu", lambda: steps.append(1))
    assert len(steps) == asked.steps == len(asked.grid)
    return found


def linear(images):
    return images.flatten(1) @ random(1024, 20)


def test_invariance_by_construction_and_none():
    model = Layered(
        orbits=(orbit_mean(linear), "vector"),
        plain=(linear, "vector"),
        same=(lambda images: torch.ones(len(images), 3), "vector"),
    )
    found = measured(model, images=60)
    assert found.values["rotation=90/invariance/error@orbits"] < 1e-6
    assert found.values["invariance/class error@orbits"] < 1e-6
    for layer in ("plain", "pixels"):
        assert found.values[f"rotation=180/invariance/error@{layer}"] > 0.9
        assert found.values[f"rotation=0/invariance/error@{layer}"] == 0
    assert not any(key.endswith("/error@same") for key in found.values)
    assert found.values["invariance/change@same"] == found.values["invariance/spread@same"] == 0
    (note,) = found.notes
    assert note.startswith("undefined (0/0): rotation=-90/invariance/error@same, ")


def test_numbers_are_those_of_the_definition():
    data = digits(views=ViewRange(rotation=(-30, 30)))  # images as stored, whatever was trained
    grid = {"shift_x": {"start": -3, "stop": 3, "step": 3}, "contrast": {**TURNS["rotation"],
            "start": 0.5, "stop": 1, "step": 0.5}}  # fmt: skip
    found = measured(Layered(plain=(linear, "vector")), data, grid=grid, layers=["plain"])
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
            "class error": one.class_error,
            "class spread": one.class_spread,
        }.items():
            key = f"{factor}={value}/invariance/{key}@plain"
            assert found.values[key] == pytest.approx(expected.item(), rel=1e-6)
    both = torch.stack([errors["shift_x", value].change for value in (-3, 3)])
    assert found.values["shift_x/invariance/change@plain"] == pytest.approx(
        both.square().mean().sqrt().item(), rel=1e-6
    )
    every = torch.stack([one.change for one in errors.values()])  # the identities do not dilute it
    assert found.values["invariance/change@plain"] == pytest.approx(
        every.square().mean().sqrt().item(), rel=1e-6
    )
    assert found.n == 120
    assert found.samples["index"].tolist() == still.index.tolist()
    distances = found.samples["invariance/distance@plain"]
    assert distances.shape == (5, 120)
    torch.testing.assert_close(torch.from_numpy(distances[2]), apart["shift_x", 3])
    assert (distances[[1, 4]] == 0).all()


def test_a_model_that_names_no_layer_has_pixels_and_probabilities():
    found = measured(Layered(), images=20)
    layers = {key.split("@")[1] for key in found.values}
    assert layers == {"pixels", "probabilities"}
    assert found.notes == ()


def test_images_of_several_objects_have_no_error_within_a_class():
    model = Layered((1, 4, 4), 2)
    found = measured(model, Pairs())
    assert found.values["rotation=90/invariance/error@pixels"] > 0.5
    assert not any("class" in key for key in found.values)
    assert any("several objects" in note for note in found.notes)
    assert any("class" in key for key in measured(model, Noise()).values)


def test_layers_have_to_exist():
    with pytest.raises(UserError, match="hiden"):
        measured(Layered(), layers=["hiden"])


@pytest.mark.parametrize(
    ("content", "told"),
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
def test_what_makes_no_sense_is_refused(content, told):
    with pytest.raises(ValidationError, match=told):
        entry(**content)
