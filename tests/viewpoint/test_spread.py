"""Values of a factor."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ValidationError
from scipy.stats import kstest

from capsbench.arguments import one_line
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView, ViewGrid
from capsbench.viewpoint.part import Window
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread, Sweep
from capsbench.viewpoint.views import Views


def spread(form):
    return Spread.model_validate(form)


numbers = st.floats(-400, 400).map(lambda value: round(value, 3))


@st.composite
def spreads(draw):
    if draw(st.booleans()):
        return spread({"values": draw(st.lists(numbers, min_size=1, max_size=6, unique=True))})
    ends = sorted(draw(st.lists(numbers, min_size=2, max_size=8, unique=True)))
    pairs = list(zip(ends[::2], ends[1::2], strict=False))
    return spread({"intervals": pairs})


@pytest.mark.parametrize(
    ("form", "intervals", "values"),
    [
        ([-15, 15], ((-15, 15),), ()),
        (30, (), (30,)),
        ([0, 0], (), (0,)),
        ({"start": -2, "stop": 2, "step": 1}, (), (-2, -1, 0, 1, 2)),
        ({"values": [300, 0, 20]}, (), (300, 0, 20)),
        ({"intervals": [[-180, -30], [30, 180]]}, ((-180, -30), (30, 180)), ()),
    ],
    ids=str,
)
def test_every_form_becomes_intervals_or_values(form, intervals, values):
    assert (spread(form).intervals, spread(form).values) == (intervals, values)


@pytest.mark.parametrize(
    "form",
    [
        [15, -15],
        [1, 2, 3],
        [],
        "all",
        True,
        [0, math.inf],
        {"values": []},
        {"values": [1, 1]},
        {"intervals": [[0, 2], [2, 3]]},
        {"intervals": [[3, 4], [0, 1]]},
        {"values": [1], "intervals": [[0, 1]]},
        {"intervals": [[5, 5], [7, 9]]},
        {"start": 0, "stop": 1e300, "step": 1},
        {"start": 1, "stop": 0, "step": 1},
        {"from": 1},
    ],
    ids=str,
)
def test_other_forms_are_refused(form):
    with pytest.raises(ValidationError):
        spread(form)


class Holder(BaseModel):
    spread: Spread


@given(spreads())
def test_json_round_trip(one):
    written = Holder(spread=one).model_dump_json()
    assert Holder.model_validate_json(written).spread == one


@given(spreads(), numbers, st.sampled_from([None, 360.0]))
def test_places_match_a_search_along_the_line(one, value, period):
    """Independent reference: search up and down from the value for the next interval."""
    turns = [0] if period is None else [k * period for k in range(-4, 5)]
    pieces = [(low + t, high + t) for low, high in one.segments for t in turns]
    inside = any(low <= value <= high for low, high in pieces)
    assert one.contains(value, period) == inside or any(
        abs(value - end) < 1e-6 for piece in pieces for end in piece
    )
    if inside:
        assert one.region(value, period) == "familiar"
    elif period is None:
        below = any(high < value for _, high in pieces)
        above = any(low > value for low, _ in pieces)
        expected = "between" if below and above else "outside"
        assert one.region(value) == expected


@pytest.mark.parametrize(
    ("form", "between", "outside"),
    [
        ([-15, 15], [], [16, 180, -90]),
        ({"start": -180, "stop": 150, "step": 30}, [15, -165, 195, 359], []),
        ({"values": [300, 320, 340, 0, 20, 40]}, [10, 310, 350], [60, 180, 280, 299]),
        ({"intervals": [[-20, -10], [10, 20]]}, [0, 360, 9], [21, 180]),
        ([-180, 180], [], []),
        ({"values": [0, 180]}, [90, 270], []),
    ],
    ids=str,
)
def test_around_a_circle_the_widest_gap_is_outside(form, between, outside):
    one = spread(form)
    assert {one.region(value, 360) for value in between} <= {"between"}
    assert {one.region(value, 360) for value in outside} <= {"outside"}
    for low, high in one.segments:
        assert one.region(low, 360) == one.region(high + 360, 360) == "familiar"


@given(spreads())
def test_drawn_values_are_familiar(one):
    ranges = ViewRange(rotation=one)
    drawn = Views.draw(ranges, 50, torch.Generator().manual_seed(0)).rotation.tolist()
    assert all(one.contains(value) for value in drawn)


def test_draws_are_uniform_over_the_union_and_over_the_values():
    ranges = ViewRange(
        rotation={"intervals": [[-60, -30], [0, 10], [100, 160]]},
        shift={"start": -2, "stop": 2, "step": 1},
        brightness=[-0.2, 0.3],
        contrast=[0.5, 1.5],
    )
    views = Views.draw(ranges, 20_000, torch.Generator().manual_seed(0))
    angle = views.rotation
    # With each interval moved to the end of the one before it, the values are uniform in 0 to 100.
    even = torch.where(angle < -20, angle + 60, torch.where(angle < 50, angle + 30, angle - 60))
    assert kstest(even.numpy() / 100, "uniform").pvalue > 1e-3
    assert kstest((views.brightness.numpy() + 0.2) / 0.5, "uniform").pvalue > 1e-3
    assert kstest(views.contrast.numpy() - 0.5, "uniform").pvalue > 1e-3
    counts = torch.stack([(views.shift == value).sum(0) for value in range(-2, 3)])
    assert counts.sum() == 40_000
    assert (counts - 4000).abs().max() < 300
    assert torch.corrcoef(views.shift.T)[0, 1].abs() < 0.03


def test_recorded_factors_are_not_drawn_and_may_be_unrestricted():
    ranges = ViewRange(azimuth={"values": [0, 20]}, elevation=[30, 40])
    assert list(ranges.recorded) == ["azimuth", "elevation"]
    assert ranges.region(GridView("lighting", 3)) == "familiar"
    assert ranges.region(GridView("azimuth", 380)) == "familiar"
    assert ranges.region(GridView("azimuth", 10)) == "between"
    assert ranges.region(GridView("elevation", 45)) == "outside"
    pairs = zip(
        vars(Views.draw(ranges, 3, torch.Generator())).values(),
        vars(Views.identity(3)).values(),
        strict=True,
    )
    assert all(one is other is None or torch.equal(one, other) for one, other in pairs)


def test_a_grid_has_every_factor():
    assert set(ViewGrid.model_fields) == {*FACTORS, "part"}
    grid = ViewGrid(
        azimuth=Sweep(start=0, stop=40, step=20), contrast=Sweep(start=1, stop=1, step=1)
    )
    assert [view.key for view in grid.views()] == [
        "contrast=1",
        "azimuth=0",
        "azimuth=20",
        "azimuth=40",
    ]


@pytest.mark.parametrize(
    "grid",
    [
        {"contrast": {"start": -1, "stop": 1, "step": 1}},
        {
            "shift_x": {"start": 0, "stop": 1, "step": 1},
            "part": {"width": 8, "height": 8, "x": [-2, 2]},
        },
        {"part": "object"},
    ],
    ids=["negative contrast", "a window that moves alone", "nothing swept"],
)
def test_invalid_grids_are_refused(grid):
    with pytest.raises(ValidationError):
        ViewGrid.model_validate(grid)


@pytest.mark.parametrize("nothing", [None, "none"])
def test_a_factor_may_be_none(nothing):
    assert ViewRange.model_validate({"rotation": nothing, "azimuth": nothing}) == ViewRange()


def test_a_view_is_familiar_only_if_its_other_factors_are():
    turned = ViewRange(rotation=90, shift=[-2, 2])
    assert turned.region(GridView("shift_x", 1)) == "outside"  # shown upright
    assert turned.region(GridView("rotation", 90)) == "familiar"
    assert ViewRange(shift={"values": [-2, 2]}).region(GridView("rotation", 0)) == "between"
    window = Window(width=5, height=5)
    ranges = ViewRange(rotation=[-15, 15])
    assert ranges.region(GridView("rotation", 10, window)) == "outside"
    assert ranges.region(GridView("rotation", 0, window)) == "familiar"  # nothing moves
    assert ranges.region(GridView("azimuth", 10, window)) == "familiar"
    moving = ViewRange(rotation=[-15, 15], part=window)
    assert moving.region(GridView("rotation", 10, window)) == "familiar"
    assert moving.region(GridView("rotation", 10)) == "outside"


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"width": 0, "height": 3}, "part.window.width: "),
        ({"width": 5}, "part.window.height: "),
        ("objekt", "part.name: "),
    ],
    ids=["width", "height", "name"],
)
def test_invalid_parts_are_refused_with_the_field(part, message):
    with pytest.raises(ValidationError) as caught:
        ViewRange.model_validate({"part": part})
    assert one_line(caught.value).startswith(message)
