"""Linear equivariance of layers of models that are known, end to end."""

import math

import pytest
import torch
from pydantic import TypeAdapter, ValidationError

from capsbench.measures import LinearEquivariance, MeasureEntry
from capsbench.measures._affine_equivariance import linear_equivariance
from capsbench.measures._affine_maps import divide
from capsbench.measures._group_law import compositions, group_law_of
from capsbench.measures._per_class_fit import isometric
from capsbench.measures.linear_equivariance import measure
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views
from tests.measures.layered import Layered, Noise, Pairs, orbit_mean, random

TURNS = {"rotation": {"start": 0, "stop": 270, "step": 90}}
INVERTIBLE = random(16, 16)
LARGE = random(16, 3000, seed=1)
VALUES = ("explained", "shuffled", "beyond_controls", "distance", "kept")


def entry(**arguments):
    content = {"measure": "linear-equivariance", "grid": TURNS, "width": 16, **arguments}
    return TypeAdapter(MeasureEntry).validate_python(content)


def measured(data=None, *, counted=True, arguments=None, **layers):
    asked, steps = entry(**(arguments or {})), []
    model = Layered((1, 4, 4), 2, **{name: (one, "vector") for name, one in layers.items()})
    found = measure(asked, model.eval(), data or Noise(), "cpu", lambda: steps.append(1))
    assert len(steps) == asked.steps * counted
    assert all(math.isfinite(value) for value in found.values.values())
    return found


def invertible(images):
    return images.flatten(1) @ INVERTIBLE


def large(images):
    return images.flatten(1) @ LARGE


def folded(images):
    return (images.flatten(1) - 0.5).abs() @ INVERTIBLE + 0.2 * images.flatten(1)


def value(found, name, layer, view=""):
    return found.values[f"{view}equivariance/{name}@{layer}"]


@pytest.fixture(scope="module")
def found():
    def hashed(images):
        return (1000 * images.flatten(1) @ INVERTIBLE).sin()

    return measured(
        invertible=invertible,
        large=large,
        hashed=hashed,
        invariant=orbit_mean(large),
        few=lambda images: images.flatten(1)[:, :5],
    )


def test_a_layer_that_is_linear_and_invertible_is_explained_wholly(found):
    for layer in ("pixels", "invertible", "large"):
        for view in ("", "rotation=90/", "rotation=270/"):
            assert value(found, "linear/explained", layer, view) == pytest.approx(1, abs=1e-6)
            assert value(found, "linear/beyond_controls", layer, view) == pytest.approx(1, abs=1e-5)
            assert value(found, "linear/kept", layer, view) == pytest.approx(1, abs=1e-6)
            assert value(found, "linear/distance", layer, view) > 1
        assert value(found, "group/explained", layer, "rotation/") == pytest.approx(1, abs=1e-6)
        assert value(found, "group/deviation", layer, "rotation/") < 1e-8
        assert value(found, "group/floor", layer, "rotation/") < 1e-8
        assert value(found, "group/distance", layer, "rotation/") > 1


def test_a_layer_without_any_order_is_no_better_explained_than_by_its_mean(found):
    assert value(found, "linear/explained", "hashed") == pytest.approx(0.5, abs=0.1)
    assert abs(value(found, "linear/beyond_controls", "hashed")) < 0.1
    assert value(found, "group/deviation", "hashed", "rotation/") > 0.1


def test_what_cannot_be_told_is_left_out_with_a_sentence(found):
    assert not any(key.endswith(("@few", "@probabilities")) for key in found.values)
    assert "few is left out: it has 5 numbers, below the common width of 16" in found.notes
    assert not any(
        key.endswith(f"linear/{share}@invariant") for key in found.values for share in VALUES
        if share != "distance"
    )  # fmt: skip
    assert value(found, "linear/distance", "invariant") < 1e-3
    assert any(note.startswith("undefined (0/0): equivariance/linear/exp") for note in found.notes)
    assert not any(key.startswith("rotation=0/") for key in found.values)


def test_numbers_are_those_of_the_definition(found):
    data = Noise()
    rows = torch.arange(600)
    seen = {
        at: data.evaluation.get_batch("familiar", rows, GridView("rotation", at)).images for at in (90, 180, 270)
    }
    still = data.evaluation.get_batch("familiar", rows, Views.identity(1))
    f_gx = torch.stack([folded(images) for images in seen.values()], dim=1)
    fit = linear_equivariance(
        folded(still.images), f_gx, still.targets, divide(still.index, 0), width=8
    )
    found = measured(folded=folded, arguments={"width": 8, "layers": ["folded"]})
    for share, expected in fit.overall()._asdict().items():
        assert value(found, f"linear/{share}", "folded") == pytest.approx(expected.item(), rel=1e-6)
    for row, view in enumerate(seen):
        for share, expected in fit.by_view()._asdict().items():
            assert value(found, f"linear/{share}", "folded", f"rotation={view}/") == pytest.approx(
                expected[row].item(), rel=1e-6
            )
    # The samples are what the shares are made of.
    residual, change = found.samples["residual@folded"], found.samples["change@folded"]
    assert residual.shape == (found.n, 3)
    assert found.n == int(fit.images.sum()) == len(found.samples["index"])
    assert 1 - residual.sum() / change.sum() == pytest.approx(
        value(found, "linear/explained", "folded"), rel=1e-4
    )
    assert residual.sum(axis=0) == pytest.approx(fit.residual.sum(dim=0).numpy(), rel=1e-4)


def test_maps_of_a_group_are_fitted_to_images_seen_from_everywhere():
    def upright_is_special(images):
        """Features about which one map of upright images says nothing of turned ones."""
        return folded(images * torch.linspace(0.2, 1, 16).reshape(4, 4))

    found = measured(special=upright_is_special, arguments={"layers": ["special"]})
    data, rows = Noise(), torch.arange(600)
    seen = [data.evaluation.get_batch("familiar", rows, GridView("rotation", 90 * at)) for at in range(4)]
    features = torch.stack([upright_is_special(one.images) for one in seen], dim=1)
    order = (torch.arange(4)[:, None] + torch.arange(4)) % 4
    moved = features[:, order].flatten(0, 1)
    fit = linear_equivariance(
        moved[:, 0],
        moved[:, 1:],
        seen[0].targets.repeat_interleave(4),
        divide(seen[0].index.repeat_interleave(4), 0),
        width=16,
    )
    law = group_law_of(fit, compositions([90, 180, 270], period=360))
    expected = {
        "explained": fit.overall().explained,
        "beyond_controls": fit.overall().beyond_controls,
        "deviation": law.deviation.mean(),
        "floor": law.floor.mean(),
        "distance": law.distance.mean(),
    }
    for name, number in expected.items():
        assert value(found, f"group/{name}", "special", "rotation/") == pytest.approx(
            number.item(), rel=1e-4
        )


def test_views_that_are_no_whole_group_are_fitted_to_images_at_rest():
    grid = {"rotation": {"start": 90, "stop": 180, "step": 90}}
    found = measured(arguments={"grid": grid, "layers": ["pixels"]})
    assert value(found, "group/deviation", "pixels", "rotation/") < 1e-8
    assert "rotation/equivariance/group/explained@pixels" not in found.values
    (note,) = found.notes
    assert note.startswith("the group law of rotation is that of maps fitted to images as they are")


def test_too_few_images_and_images_of_several_objects():
    few = measured(counted=False, arguments={"images": 100})
    assert (few.values, few.samples) == ({}, {})
    assert "needs 160 images of each class to fit to, and there are" in few.notes[0]
    several = measured(Pairs(), counted=False)
    assert several.values == {}
    assert "several objects" in several.notes[0]


def test_features_in_fewer_numbers_keep_their_products():
    features = random(5, 3, 400)
    few = isometric(features)
    assert few.shape == (5, 3, 15)
    flat, vectors = features.flatten(0, 1), few.flatten(0, 1)
    torch.testing.assert_close(vectors @ vectors.T, flat @ flat.T, rtol=1e-4, atol=1e-3)
    assert isometric(features[..., :15]).equal(features[..., :15])


def test_quarter_turns_if_no_views_are_given():
    asked = TypeAdapter(MeasureEntry).validate_python({"measure": "linear-equivariance"})
    assert isinstance(asked, LinearEquivariance)
    assert [view.key for view in asked.grid.views()] == [
        "rotation=-90",
        "rotation=0",
        "rotation=90",
        "rotation=180",
    ]
    assert (asked.width, asked.layers, asked.images) == (10, None, 2000)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"grid": {"azimuth": {"start": 0, "stop": 90, "step": 90}}}, "azimuth"),
        ({"grid": {"rotation": {"start": 0, "stop": 360, "step": 360}}}, "changes anything"),
        ({"width": 0}, "greater than or equal to 1"),
    ],
    ids=["recorded", "nothing moves", "no component"],
)
def test_what_makes_no_sense_is_refused(content, told):
    with pytest.raises(ValidationError, match=told):
        entry(**content)
