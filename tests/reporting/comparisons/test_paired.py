"""Paired differences: the tests of the page, on the same images, view by view."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import ttest_rel

from capsbench.errors import UserError
from capsbench.reporting.comparisons.paired import paired_differences
from capsbench.reporting.comparisons.sides import load_sides, pair_models
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import difference
from capsbench.values import Quantity
from tests.reporting.comparisons.test_sides import cells
from tests.reporting.comparisons.two_runs import CONFIG, IMAGES, VIEWS, is_correct, write_run

RATES_A, RATES_B = {"CNN": 0.9, "EM routing": 0.8}, {"CNN": 0.6, "EM routing": 0.79}
BOUNDS = (-1.0, 1.0)


@pytest.fixture
def compare(tmp_path, write_benchmark, add_measure):
    """Write two runs, the second one with given changes, and compare them."""

    def call(*, seeds_a=(0, 1, 2), cell=False, **changes):
        a = write_run(tmp_path / "a", write_benchmark, add_measure, RATES_A, seeds=seeds_a)
        b = write_run(tmp_path / "b", write_benchmark, add_measure, RATES_B, **changes)
        sides = load_sides(*((cells(each)[0] for each in (a, b)) if cell else (a, b)))
        return paired_differences(*sides, pair_models(*sides, {}))

    return call


def tables(label, seeds=(0, 1, 2)):
    return [np.stack([is_correct(label, s, r[label]) for s in seeds]) for r in (RATES_A, RATES_B)]


def test_values_over_splits_are_those_of_the_crossed_test(compare):
    result = compare()
    familiar, novel = (Quantity(metric="accuracy", split=split) for split in ("familiar", "novel"))
    assert [(row.pair.title, row.quantity) for row in result.values] == [
        *(("CNN", quantity) for quantity in (familiar, novel)),
        *(("EM routing", quantity) for quantity in (familiar, novel)),
    ]
    differences = [row.difference for row in result.values]
    assert differences == corrected(differences)
    assert {each.comparisons for each in differences} == {4}
    row = result.values[0]
    assert row.b - row.a == pytest.approx(row.difference.mean)
    assert row.difference.mean < -0.2
    assert row.difference.interval is not None and row.difference.interval[1] < 0
    assert result.not_compared == []


def test_every_view_is_compared_on_its_images(compare):
    result = compare()
    assert [len(rows) for rows in result.views] == [len(VIEWS)] * 2
    for rows, label in zip(result.views, RATES_A, strict=True):
        a, b = tables(label)
        expected = corrected(
            [difference(b[:, v], a[:, v], bounds=BOUNDS) for v in range(len(VIEWS))]
        )
        assert [row.difference for row in rows] == expected
        assert [row.quantity.view for row in rows] == [view.value for view in VIEWS]
        assert [row.a for row in rows] == pytest.approx(a.mean(axis=(0, 2)).tolist())


def test_numbers_of_seeds_may_differ(compare):
    row = compare(seeds_a=(0, 1, 2, 3)).values[0]
    assert row.difference.n_seeds == (3, 4)


def test_two_seeds_have_no_interval(compare):
    result = compare(seeds=(0, 1))
    rows = [*result.values, *result.views[0]]
    assert {row.difference.interval for row in rows} == {None}
    assert all(np.isnan(row.difference.p) for row in rows)


def test_two_cells_are_compared_over_images(compare):
    (rows,) = compare(cell=True).views
    a, b = (table[0].astype(float) for table in tables("CNN", (0,)))
    assert [row.difference.p for row in rows] == pytest.approx(
        [float(ttest_rel(y, x).pvalue) for x, y in zip(a, b, strict=True)]
    )
    assert rows[0].difference.n_seeds == (1, 1)
    assert rows[0].difference.n_images == IMAGES


def test_an_image_that_was_not_recorded_at_a_view_is_left_out(
    tmp_path, write_benchmark, add_measure
):
    folders = [
        write_run(tmp_path / name, write_benchmark, add_measure, rates, unseen=(1,))
        for name, rates in (("a", RATES_A), ("b", RATES_B))
    ]
    sides = load_sides(*folders)
    result = paired_differences(*sides, pair_models(*sides, {}))
    counts = [row.difference.n_images for row in result.views[0]]
    assert counts == [IMAGES - (v == 1) for v in range(len(VIEWS))]
    # Values over splits have no outcome for each image, and are compared over seeds.
    assert {row.difference.n_images for row in result.values} == {0}
    row = next(r for r in result.values if r.quantity.name == "accuracy[split=familiar]")
    assert row.difference.n_seeds == (3, 3)
    assert row.difference.degrees == 2


OTHER_GRID = {
    "rotation": {"start": -30, "stop": 30, "step": 15},
    "shift_x": {"start": 0, "stop": 8, "step": 4},
}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"first_image": 5}, "other test images"),
        (
            {"config": {**CONFIG, "grid": OTHER_GRID}},
            r"other views.*grid\.shift_x\.stop is 4.0 in A and 8.0 in B",
        ),
    ],
    ids=["images", "views"],
)
def test_what_cannot_be_compared_is_refused(compare, changes, words):
    with pytest.raises(UserError, match=words):
        compare(**changes)


def test_a_measure_of_one_side_is_named(tmp_path, write_benchmark, add_measure):
    a, b = (
        write_run(tmp_path / name, write_benchmark, add_measure, rates)
        for name, rates in (("a", RATES_A), ("b", RATES_B))
    )
    worst = {"measure": "worst-of-k", "views": {"rotation": [-9, 9]}}
    value = Quantity(metric="random_accuracy").with_value(0.5, IMAGES)
    for seed in (0, 1, 2):
        add_measure(b, "CNN", seed, worst, [value])
    sides = load_sides(a, b)
    result = paired_differences(*sides, pair_models(*sides, {}))
    (row,) = result.not_compared
    assert (row.title, row.measure, row.reason) == ("CNN", "worst-of-k", "measured in B alone")
    assert result.values
