"""Ranges and grids of views."""

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import ValidationError

from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView, ViewGrid
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Sweep


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


@given(
    st.sampled_from(["rotation", "shift", "scale", "shear"]),
    st.floats(0.01, 89),
    st.floats(0.01, 89),
    st.booleans(),
)
@example("rotation", -30, -12.9, False)
def test_the_ends_of_a_range_are_familiar_in_spite_of_rounding(factor, one, other, negative):
    sign = -1 if negative and factor != "scale" else 1
    low, high = sorted((sign * one, sign * other))
    ranges = ViewRange.model_validate({factor: (low, high)})
    swept = "shift_x" if factor == "shift" else factor
    spread, period = ranges.spread(swept), FACTORS[swept].period
    assert spread is not None
    for value in (low, high, low - 1e-10, high + 1e-10):
        assert spread.region(value, period) == "familiar"
    for value in (low - 1e-6, high + 1e-6):
        assert spread.region(value, period) != "familiar"
        assert not ranges.familiar(GridView(swept, value))


def test_keys_are_short_and_exact_without_negative_zero():
    keys = {90.0: "90", 0.5: "0.5", -0.0: "0", 0.12345678: "0.12345678", -7.5: "-7.5"}
    assert {value: GridView("shear", value).key for value in keys} == {
        value: f"shear={text}" for value, text in keys.items()
    }
    assert GridView("shear", -0.0).key == "shear=0"
    assert math.copysign(1, Sweep(start=-0.0, stop=0, step=1).values()[0]) == 1


def test_all_angles_are_familiar_in_a_full_turn():
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
        {"scale": [1e-3, 1]},
        {"shear": [-90, 0]},
        {"tilt": [0, 1]},
    ],
)
def test_invalid_ranges_are_refused(wrong):
    with pytest.raises(ValidationError):
        ViewRange.model_validate(wrong)


@pytest.mark.parametrize(
    "wrong",
    [
        {},
        {"rotation": {"start": 0, "stop": 10, "step": 0}},
        {"rotation": {"start": 10, "stop": 0, "step": 1}},
        {"rotation": {"start": 0, "stop": 1e-9, "step": 1e-10}},
        {"scale": {"start": 0, "stop": 1, "step": 0.5}},
        {"scale": {"start": 1e-3, "stop": 1, "step": 0.5}},
        {"shear": {"start": -90, "stop": 0, "step": 45}},
        {"shear": {"start": 0, "stop": 90, "step": 45}},
    ],
)
def test_invalid_grids_are_refused(wrong):
    with pytest.raises(ValidationError):
        ViewGrid.model_validate(wrong)
