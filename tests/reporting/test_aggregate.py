from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from capsbench.reporting.aggregate import OverSeeds, curve, keys, measured, over_seeds
from capsbench.reporting.results import ACCURACY_BY_VIEW, load


@given(st.lists(st.floats(0, 1), min_size=3, max_size=20))
def test_interval_is_scipys(values):
    found = OverSeeds(dict(enumerate(values)))
    assert found.mean == pytest.approx(np.mean(values))
    assert found.interval is not None
    error = stats.sem(values)
    if error > 1e-9:
        expected = stats.t.interval(0.95, len(values) - 1, np.mean(values), error)
        assert found.interval == pytest.approx(expected)
    else:
        assert found.interval == pytest.approx((found.mean, found.mean), abs=1e-7)


def test_interval_by_hand():
    # Student's t with two degrees of freedom is 4.3027 at 97.5 %; the standard error of 1, 2, 3 is
    # 1 / sqrt(3).
    low, high = OverSeeds({0: 1.0, 1: 2.0, 2: 3.0}).interval or (0.0, 0.0)
    assert (low, high) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5), abs=1e-5)


@pytest.mark.parametrize("count", [1, 2])
def test_below_three_seeds_there_is_no_interval(count):
    found = OverSeeds({seed: 0.5 + seed for seed in range(count)})
    assert found.interval is None
    assert found.n == count


def test_values_are_kept_by_seed_and_gaps_left_out():
    found = over_seeds([(7, 0.7), (1, 0.1), (3, None)])
    assert found is not None
    assert list(found.values.items()) == [(1, 0.1), (7, 0.7)]
    assert over_seeds([(0, None)]) is None


def test_curves_and_values_come_from_the_records(tmp_path: Path, write_benchmark):
    folder = write_benchmark(tmp_path, seeds=(2, 0, 1), unfinished=(("CNN", 1),))
    cells = load(folder).by_label()["CNN"]
    outcomes = {c.seed: c.measurements[ACCURACY_BY_VIEW] for c in cells if c.seed != 1}
    points = {point.key: point for point in curve(cells, "rotation")}
    assert len(points) == 25
    assert [p.value for p in points.values()] == sorted(p.value for p in points.values())
    for view in outcomes[0].views:
        if view.factor == "rotation":
            assert points[view.key].familiar is (abs(view.value) <= 15)
            assert points[view.key].accuracy.values[0] == view.accuracy
            assert list(points[view.key].accuracy.values) == [0, 2]
    gap = measured(cells, "gap")
    assert gap is not None
    assert gap.mean == pytest.approx(np.mean([o.values["gap"] for o in outcomes.values()]))
    assert measured(cells, "no such key") is None
    assert keys(cells) == list(outcomes[0].values)
