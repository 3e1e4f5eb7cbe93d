"""Ranges and grids of views."""

import pytest
from pydantic import ValidationError

from capsbench.viewpoint.ranges import GridView, Sweep, ViewGrid, ViewRange


def test_familiar_is_inside_the_range_with_angles_modulo_360():
    ranges = ViewRange(rotation=(-15, 15), shift=(-2, 2))
    inside = [
        ("rotation", 15),
        ("rotation", -360),
        ("rotation", 350),
        ("shift_y", -2),
        ("scale", 1),
    ]
    outside = [("rotation", 16), ("rotation", 180), ("shift_x", 2.5), ("scale", 1.1), ("shear", 5)]
    assert all(ranges.familiar(GridView(*view)) for view in inside)
    assert not any(ranges.familiar(GridView(*view)) for view in outside)


def test_full_turn_is_familiar_everywhere():
    ranges = ViewRange(rotation=(0, 360))
    assert all(ranges.familiar(GridView("rotation", angle)) for angle in range(-180, 181, 15))


def test_grid_lists_both_ends_factor_by_factor():
    grid = ViewGrid(
        rotation=Sweep(start=-180, stop=180, step=90), scale=Sweep(start=0.4, stop=0.6, step=0.1)
    )
    assert [view.key for view in grid.views()] == [
        "rotation=-180", "rotation=-90", "rotation=0", "rotation=90", "rotation=180",
        "scale=0.4", "scale=0.5", "scale=0.6",
    ]  # fmt: skip
    assert len(grid) == 8


@pytest.mark.parametrize(
    "wrong",
    [
        {"rotation": [15, -15]},
        {"rotation": [0, float("nan")]},
        {"scale": [0, 1]},
        {"shear": [-90, 0]},
        {"tilt": [0, 1]},
    ],
)
def test_senseless_ranges_are_refused(wrong):
    with pytest.raises(ValidationError):
        ViewRange.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"rotation": {"start": 0, "stop": 10, "step": 0}},
        {"rotation": {"start": 10, "stop": 0, "step": 1}},
        {"scale": {"start": 0, "stop": 1, "step": 0.5}},
    ],
)
def test_senseless_grids_are_refused(wrong):
    with pytest.raises(ValidationError):
        ViewGrid.model_validate(wrong)
