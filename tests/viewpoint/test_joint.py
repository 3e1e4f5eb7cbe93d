"""Joint views: grids of two factors, their regions and transformations."""

from itertools import product

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.joint import JointGrid, JointView
from capsbench.viewpoint.part import Window
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.render import render
from capsbench.viewpoint.views import Views

ROTATION = {"start": -90, "stop": 90, "step": 90}
SCALE = {"start": 0.5, "stop": 1, "step": 0.5}
ORDER = ("familiar", "between", "outside")


def joint(first, second, part=None):
    return JointView((GridView(first[0], first[1], part), GridView(second[0], second[1], part)))


def test_a_grid_holds_every_pair_of_values():
    grid = JointGrid.model_validate({"scale": SCALE, "rotation": ROTATION})
    pairs = [tuple((each.factor, each.value) for each in v.components) for v in grid.views()]
    expected = product([("rotation", v) for v in (-90, 0, 90)], [("scale", v) for v in (0.5, 1)])
    assert pairs == list(expected)
    assert (len(grid), grid.shape) == (6, (3, 2))
    assert grid.views()[0].key == "rotation=-90,scale=0.5"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"rotation": ROTATION}, "exactly two factors.*got rotation"),
        ({"rotation": ROTATION, "scale": SCALE, "shear": SCALE}, "exactly two"),
        ({}, "at least one factor"),
        ({"rotation": ROTATION, "scale": {"start": 0, "stop": 1, "step": 1}}, "below 0.01"),
        # Each alone keeps every corner in front of the camera.
        (
            {
                "scale": {"start": 1, "stop": 1.5, "step": 0.5},
                "tilt_x": {"start": 0, "stop": 60, "step": 60},
            },
            "behind the camera",
        ),
    ],
    ids=["one", "three", "none", "no inverse", "behind the camera"],
)
def test_wrong_grids_are_refused(content, message):
    with pytest.raises(ValidationError, match=message):
        JointGrid.model_validate(content)


@pytest.mark.parametrize(
    "components",
    [
        (GridView("rotation", 1), GridView("rotation", 2)),
        (GridView("rotation", 1), GridView("scale", 2, "object")),
    ],
    ids=["one factor", "two parts"],
)
def test_components_have_different_factors_of_the_same_part(components):
    with pytest.raises(ValueError, match="two different factors"):
        JointView(components)


VALUES = st.floats(-200, 200)


@given(rotation=VALUES, azimuth=VALUES)
def test_the_region_is_the_farther_one_of_both_factors(rotation, azimuth):
    ranges = ViewRange(rotation={"values": [-60, 0, 60]}, azimuth={"values": [0, 20, 40]})
    views = GridView("rotation", rotation), GridView("azimuth", azimuth)
    expected = max((ranges.region(view) for view in views), key=ORDER.index)
    assert ranges.region(JointView(views)) == expected


def test_the_other_factor_is_not_at_its_identity():
    ranges = ViewRange(rotation=90, scale=[0.5, 1])
    assert ranges.region(GridView("scale", 0.5)) == "outside"  # of upright images
    assert ranges.region(joint(("rotation", 90), ("scale", 0.5))) == "familiar"
    assert ranges.region(joint(("rotation", 90), ("shift_x", 1))) == "outside"


def test_a_view_that_moves_another_part_is_outside():
    ranges = ViewRange(rotation=[-90, 90], scale=[0.5, 1])
    assert ranges.region(joint(("rotation", 0), ("scale", 0.5), "object")) == "outside"
    assert ranges.region(joint(("rotation", 45), ("scale", 1), "object")) == "outside"
    assert ranges.region(joint(("rotation", 0), ("scale", 1), "object")) == "familiar"


def test_both_factors_are_applied():
    images = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0))

    def shown(*views):
        return render(images, Views.of_grid(views), (9, 9))

    # A shift comes after the rotation, and moves by whole pixels.
    turned = shown(joint(("rotation", 90), ("shift_x", 2)))
    expected = torch.zeros_like(images)
    expected[..., 2:] = torch.rot90(images, 1, (2, 3))[..., :-2]
    assert torch.equal(turned, expected)
    # A photometric factor changes the warped image, about the mean of the stored one.
    lit = shown(joint(("rotation", 90), ("brightness", 0.25)))
    warped = torch.rot90(images, 1, (2, 3))
    torch.testing.assert_close(lit, (warped + 0.25).clamp(0, 1))
    # Recorded factors change no image.
    still = shown(joint(("rotation", 90), ("azimuth", 40)))
    assert torch.equal(still, warped)


def test_views_of_a_window_have_its_place():
    window = Window.model_validate({"width": 3, "height": 3, "x": 2, "y": -1})
    views = Views.of_grid([joint(("rotation", 90), ("scale", 0.5), window)])
    assert views.centre.tolist() == [[2, -1]]
    assert (views.rotation.tolist(), views.scale.tolist()) == ([90], [[0.5, 0.5]])
