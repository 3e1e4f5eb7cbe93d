"""Differences between models: coverage of intervals, uniform p-values under no difference."""

from functools import cache

import numpy as np
import pytest
from scipy.stats import kstest

from capsbench.errors import UserError
from capsbench.statistics.paired_difference import (
    _difference,
    difference,
    difference_over_seeds,
)
from tests.statistics.coverage import cover_at, covers


def width(estimate):
    low, high = estimate.interval
    return high - low


def outcomes(generator, seeds, images, *, seed_spread, image_spread=1.0, ease=1.5):
    """Two models that are equally good: outcomes of a probit with shared difficulties."""
    difficulty = generator.normal(scale=image_spread, size=images)
    return [
        ease
        + generator.normal(scale=seed_spread, size=(seeds, 1))
        + difficulty
        + generator.normal(scale=0.5, size=images)
        + generator.normal(size=(seeds, images))
        > 0
        for _ in range(2)
    ]


# Quantiles of resampled differences cover too rarely if seeds differ a lot (0.87 with three seeds),
# and too often if they do not (above 0.99).
SIMULATIONS = {"seeds differ": (3, 0.4), "seeds differ, five": (5, 0.4), "seeds agree": (5, 0.0)}


@cache
def simulated(case):
    seeds, spread = SIMULATIONS[case]
    generator = np.random.default_rng(3)
    return [
        difference(*outcomes(generator, seeds, 200, seed_spread=spread), resamples=299)
        for _ in range(400)
    ]


@pytest.mark.parametrize("case", SIMULATIONS)
def test_the_interval_of_a_difference_covers(case):
    assert cover_at([covers(each, 0) for each in simulated(case)], slack=0.01)


@pytest.mark.parametrize("case", SIMULATIONS)
def test_p_is_uniform_under_no_difference(case):
    assert kstest([each.p for each in simulated(case)], "uniform").pvalue > 0.01


@pytest.mark.parametrize("case", SIMULATIONS)
def test_p_and_interval_agree(case):
    for each in simulated(case):
        assert covers(each, 0) == (each.p > 0.05) or each.p == pytest.approx(0.05, abs=0.005)


def test_a_true_difference_is_significant():
    generator = np.random.default_rng(4)
    better, worse = generator.random((4, 2000)) < 0.95, generator.random((5, 2000)) < 0.9
    result = difference(better, worse, resamples=999)
    assert covers(result, 0.05)
    assert result.p == result.p_corrected == 1 / 1000
    assert result.mean == pytest.approx(better.mean() - worse.mean())
    assert (result.n_seeds, result.n_images, result.comparisons) == ((4, 5), 2000, 1)
    other = difference(worse, better, resamples=999)
    assert other.mean == -result.mean


def test_images_are_paired():
    """Images that are hard for both models cancel; with shuffled images they do not."""
    generator = np.random.default_rng(5)
    first, second = outcomes(generator, 4, 800, seed_spread=0, image_spread=4)
    paired = difference(first, second, resamples=299)
    apart = difference(first, generator.permuted(second, axis=1), resamples=299)
    assert width(paired) < 0.7 * width(apart)


def test_the_standard_error_is_that_of_a_crossed_table():
    """Compare with the mean squares in loops, of the sample that holds everything once."""
    generator = np.random.default_rng(6)
    tables = generator.normal(size=(3, 7)) + 1, generator.normal(size=(4, 7))
    shares = [np.full((1, len(table)), 1 / len(table)) for table in tables]
    mean, error = _difference(tables, shares, np.full((1, 7), 1 / 7))
    expected = np.var(tables[0].mean(axis=0) - tables[1].mean(axis=0), ddof=1) / 7
    last = expected
    for table in tables:
        seeds, images = table.shape
        rows, columns = table.mean(axis=1), table.mean(axis=0)
        of_seeds = images * np.var(rows, ddof=1)
        rest = table - rows[:, None] - columns + table.mean()
        expected += (of_seeds - (rest**2).sum() / (seeds - 1) / (images - 1)) / seeds / images
    assert mean[0] == pytest.approx(tables[0].mean() - tables[1].mean())
    assert error[0] == pytest.approx(np.sqrt(max(expected, last)))


def of_objects(generator, seeds, counts):
    """Two models that are equally good, each better at some objects than the other."""
    objects = np.repeat(np.arange(len(counts)), counts)
    return objects, [
        1.0
        + generator.normal(scale=0.1, size=(seeds, 1))
        + generator.normal(size=len(counts))[objects]
        + generator.normal(size=(seeds, len(objects)))
        > 0
        for _ in range(2)
    ]


@pytest.mark.parametrize("most", [40, 120])
def test_intervals_cover_differing_objects_if_objects_are_drawn(most):
    generator = np.random.default_rng(10)
    results = []
    for _ in range(200):
        objects, tables = of_objects(generator, 3, generator.integers(40, most + 1, size=25))
        results.append(
            [difference(*tables, objects=each, resamples=299) for each in (objects, None)]
        )
    together, apart = zip(*results, strict=True)
    assert cover_at([covers(each, 0) for each in together], slack=0.02)
    assert np.mean([covers(each, 0) for each in apart]) < 0.8
    assert {each.n_objects for each in together} == {25}
    assert together[0].mean == apart[0].mean


def test_objects_of_one_image_each_are_images():
    generator = np.random.default_rng(11)
    tables = outcomes(generator, 3, 60, seed_spread=0.2)
    order = generator.permutation(60)
    one = difference(*tables, resamples=199)
    other = difference(*(each[:, order] for each in tables), objects=np.argsort(order))
    assert width(other) == pytest.approx(width(one), rel=0.1)


def test_a_difference_may_be_undefined():
    few = difference(np.eye(2), np.eye(2)[:, ::-1])
    assert (few.mean, few.interval, few.n_seeds) == (0, None, (2, 2))
    constant = difference(np.full((3, 40), 0.3), np.full((3, 40), 0.1))
    assert constant.mean == pytest.approx(0.2)
    assert constant.interval is None
    assert np.isnan([few.p, few.p_corrected, constant.p]).all()
    one_wrong = np.ones((3, 40))
    one_wrong[0, 0] = 0
    rare = difference(one_wrong, np.ones((3, 40)), resamples=199)
    assert rare.interval is None
    assert rare.p > 0.2


def test_bad_outcomes_are_refused():
    with pytest.raises(UserError, match="got 4 and 5"):
        difference(np.ones((3, 4)), np.ones((3, 5)))
    with pytest.raises(UserError, match="finite numbers"):
        difference([[1, np.nan]], [[1, 1]])


def test_a_difference_over_no_seeds_is_refused():
    with pytest.raises(UserError, match="at least one seed"):
        difference_over_seeds([], [])
    assert difference_over_seeds([1.0], [0.5])[:2] == (0.5, None)
