"""Queries of records: numbers over seeds, and curves over the views of a factor."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from capsbench.records import load_results
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    SeedValues,
    aggregate_seeds,
    collect,
    curve,
    quantities,
    subtract_seeds,
    view_factors,
)
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.statistics.bounded import bounded_t_interval
from capsbench.values import Quantity


@given(st.lists(st.floats(0, 1), min_size=3, max_size=20))
def test_interval_equals_scipys(values):
    seed_values = SeedValues(dict(enumerate(values)))
    assert seed_values.mean == pytest.approx(np.mean(values))
    error = stats.sem(values)
    if np.ptp(values) <= 1e-12 * max(values):
        assert seed_values.interval is None
    elif error > 1e-9:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert seed_values.interval == pytest.approx(expected)
    else:
        assert seed_values.interval == pytest.approx((seed_values.mean, seed_values.mean), abs=1e-7)


def test_the_interval_of_shares_stays_inside(results):
    cells = results.by_label()["CNN"]
    novel = aggregate_seeds(cells, ACCURACY_BY_VIEW, Quantity(metric="accuracy", split="novel"))
    gap = aggregate_seeds(cells, ACCURACY_BY_VIEW, Quantity(metric="gap"))
    assert novel is not None
    assert gap is not None
    assert [novel.bounds, gap.bounds] == [(0, 1), (-1, 1)]
    change = subtract_seeds(novel, novel)
    assert change is not None
    assert change.bounds == (-1.0, 1.0)
    one_at_chance = replace(novel, values={0: 0.988, 1: 0.113, 2: 0.987})
    assert one_at_chance.interval == pytest.approx((0.058, 0.988), abs=0.001)
    assert one_at_chance.interval == bounded_t_interval([0.988, 0.113, 0.987], (0, 1))


def test_interval_by_hand():
    # Student's t with two degrees of freedom is 4.3027 at 97.5 %; the standard error of 1, 2, 3 is
    # 1 / sqrt(3).
    low, high = SeedValues({0: 1.0, 1: 2.0, 2: 3.0}).interval or (0.0, 0.0)
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_there_is_no_interval_below_three_seeds(count):
    seed_values = SeedValues({seed: 0.5 + seed for seed in range(count)})
    assert seed_values.interval is None
    assert seed_values.n == count


def test_values_are_sorted_by_seed_and_missing_ones_left_out():
    seed_values = collect([(7, 0.7), (1, 0.1), (3, None)])
    assert seed_values is not None
    assert list(seed_values.values.items()) == [(1, 0.1), (7, 0.7)]
    assert collect([(0, None)]) is None


@pytest.fixture
def results(tmp_path: Path, write_benchmark):
    return load_results(write_benchmark(tmp_path, seeds=(2, 0, 1), unfinished=(("CNN", 1),)))


def test_curves_hold_the_recorded_values(results):
    cells = results.by_label()["CNN"]
    points = {point.view: point for point in curve(cells, "rotation")}
    assert list(points) == [float(angle) for angle in range(-180, 181, 15)]
    record = next(cell for cell in cells if cell.seed == 0).measures[ACCURACY_BY_VIEW]
    at_views = [v for v in record.select(factor="rotation") if v.view is not None]
    assert len(at_views) == len(points)
    for value in at_views:
        assert value.view is not None
        assert points[value.view].familiar is (abs(value.view) <= 15)
        assert points[value.view].seed_values.values[0] == value.value
        assert list(points[value.view].seed_values.values) == [0, 2]
    assert view_factors(results) == ["rotation", "shift_x", "shift_y", "scale"]


def test_a_quantity_is_read_from_every_seed(results):
    cells = results.by_label()["CNN"]
    records = [cell.measures[ACCURACY_BY_VIEW] for cell in cells if cell.measures]
    gap = aggregate_seeds(cells, ACCURACY_BY_VIEW, Quantity(metric="gap"))
    assert gap is not None
    assert gap.mean == pytest.approx(np.mean([r.get(Quantity(metric="gap")) for r in records]))
    assert aggregate_seeds(cells, ACCURACY_BY_VIEW, Quantity(metric="missing")) is None
    assert aggregate_seeds(cells, "missing", Quantity(metric="gap")) is None


def test_quantities_match_by_fields_in_the_order_of_the_records(results):
    cells = results.by_label()["CNN"]
    (record, *_) = [cell.measures[ACCURACY_BY_VIEW] for cell in cells if cell.measures]
    assert quantities(cells, ACCURACY_BY_VIEW) == [value.quantity for value in record.values]
    summaries = quantities(cells, ACCURACY_BY_VIEW, metric="accuracy", factor=None, view=None)
    assert [quantity.split for quantity in summaries] == ["familiar", "novel"]
    assert quantities(cells, ACCURACY_BY_VIEW, layer="hidden") == []


def test_some_of_many_seeds_are_shown_one_by_one():
    many = SeedValues({seed: seed / 1000 for seed in range(120)})
    assert many.shown == [seed / 1000 for seed in range(50)]
    assert many.mean == pytest.approx(0.0595)
    cell = mean_cell(many)
    assert cell is not None
    assert cell.values.startswith("0.0, 0.1, ")
    assert cell.values.endswith("4.9 and 70 more")
    assert cell.seeds == 120
