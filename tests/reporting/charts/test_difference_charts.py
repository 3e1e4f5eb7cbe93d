"""Charts of differences: a panel for each factor, with the numbers of the tables."""

from __future__ import annotations

import pytest

from capsbench.reporting.charts.difference_charts import difference_charts, pair_places
from capsbench.reporting.comparison import compare
from tests.reporting.comparisons.two_runs import write_run


@pytest.fixture
def views(tmp_path, write_benchmark, add_measure):
    def call(**changes):
        rates = ({"CNN": 0.9, "EM routing": 0.8}, {"CNN": 0.6, "EM routing": 0.79})
        a, b = (
            write_run(tmp_path / name, write_benchmark, add_measure, own, **changes)
            for name, own in zip("ab", rates, strict=True)
        )
        return compare(a, b, {}).differences.views

    return call


def rows_of(panel):
    """Return the rows of a panel's lines."""
    (rows,) = (rows for rows in panel.spec["datasets"].values() if "mean" in rows[0])
    return rows


def test_a_panel_for_each_factor_has_all_pairs(views):
    own = views()
    panels = list(difference_charts(own))
    assert [panel.title for panel in panels] == ["Rotation", "Horizontal shift"]
    assert pair_places(own) == {"CNN": 0, "EM routing": 1}
    drawn = [row for panel in panels for row in rows_of(panel)]
    expected = {
        (each.pair.title, each.quantity.factor, each.quantity.view): each.difference
        for rows in own
        for each in rows
    }
    assert len(drawn) == len(expected)
    at = {"Rotation": "rotation", "Horizontal shift": "shift_x"}
    for panel in panels:
        for row in rows_of(panel):
            difference = expected[row["model"], at[panel.title], row["x"]]
            assert row["mean"] == pytest.approx(100 * difference.mean)
            assert difference.interval is not None
            limits = [100 * limit for limit in difference.interval]
            assert [row["low"], row["high"]] == pytest.approx(limits)


def test_two_seeds_have_no_band(views):
    for panel in difference_charts(views(seeds=(0, 1))):
        assert {row["low"] for row in rows_of(panel)} == {None}
        assert {row["interval"] for row in rows_of(panel)} == {"none"}
