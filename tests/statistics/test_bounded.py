"""Intervals inside of a range, against their defining equation and the interval of Wilson."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binomtest, norm

from capsbench.statistics.bounded import (
    SHARES,
    bounded_t_interval,
    range_of_difference,
    score_interval,
)
from capsbench.statistics.intervals import t_interval


@given(st.floats(0.001, 0.999), st.floats(1e-6, 100))
def test_limits_solve_the_equation(mean, half):
    limits = score_interval((mean - half, mean + half), SHARES)
    assert 0 <= limits[0] <= mean <= limits[1] <= 1
    for limit in limits:
        room = limit * (1 - limit) / (mean * (1 - mean))
        assert (limit - mean) ** 2 == pytest.approx(half**2 * room, rel=1e-4, abs=1e-9)


def test_of_independent_outcomes_it_is_wilsons():
    right, images = 37, 40
    share = right / images
    half = norm.ppf(0.975) * np.sqrt(share * (1 - share) / images)
    expected = binomtest(right, images).proportion_ci(0.95, method="wilson")
    assert score_interval((share - half, share + half), SHARES) == pytest.approx(tuple(expected))


@given(st.floats(-0.99, 0.99), st.floats(0.001, 3))
def test_it_follows_the_range(mean, half):
    symmetric = score_interval((mean - half, mean + half), (-1, 1))
    shares = score_interval(((mean - half + 1) / 2, (mean + half + 1) / 2), SHARES)
    assert symmetric == pytest.approx(tuple(2 * limit - 1 for limit in shares), abs=1e-9)
    mirrored = score_interval((-mean - half, -mean + half), (-1, 1))
    assert mirrored == pytest.approx((-symmetric[1], -symmetric[0]))


def test_a_small_interval_is_students():
    values = [0.501, 0.503, 0.502, 0.5035]
    assert bounded_t_interval(values, SHARES) == pytest.approx(t_interval(values), abs=1e-6)
    assert bounded_t_interval(values[:2], SHARES) is None


def test_a_seed_at_chance_leaves_an_interval_of_accuracies():
    values = [0.988, 0.113, 0.987]
    low, high = t_interval(values) or (0, 0)
    assert low < -0.5
    assert high > 1.9
    assert bounded_t_interval(values, SHARES) == pytest.approx((0.058, 0.988), abs=0.001)


def test_equal_values_are_no_evidence_about_other_seeds():
    for value in (0.0, 1.0, 0.25):
        assert bounded_t_interval([value] * 3, SHARES) is None
        assert t_interval([value] * 3) is None
    assert t_interval([0.8 - 0.7, 0.9 - 0.8, 0.3 - 0.2]) is None  # but for rounding


def test_values_at_an_end_of_the_range():
    rounded = bounded_t_interval([1.00001, 1.00002, 1.0], SHARES)
    assert rounded == pytest.approx((1, 1), abs=1e-4)
    assert score_interval((0.99999, 1.00001), SHARES) == pytest.approx((0.99999, 1), abs=1e-9)


def test_the_range_of_a_difference():
    assert range_of_difference((0, 1), (0, 1)) == (-1, 1)
    assert range_of_difference((-1, 1), (0, 1)) == (-2, 1)
    assert range_of_difference(None, (0, 1)) is None
