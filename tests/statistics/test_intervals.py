"""Coverage of intervals over seeds and over images."""

import numpy as np
import pytest
from scipy.stats import bootstrap, ttest_1samp

from capsbench.errors import UserError
from capsbench.statistics.intervals import bootstrap_over_images, t_interval
from tests.statistics.coverage import cover_at, covers


def test_interval_over_seeds_is_students_t():
    values = [0.91, 0.94, 0.92, 0.97]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx(tuple(expected))


def test_interval_over_seeds_covers():
    draws = np.random.default_rng(0).normal(size=(2000, 3))
    intervals = [t_interval(values) or (np.nan, np.nan) for values in draws]
    assert cover_at([low <= 0 <= high for low, high in intervals])


def test_two_seeds_have_no_interval():
    assert t_interval([0.5, 0.7]) is None


def test_interval_over_images_covers_for_skewed_outcomes():
    draws = np.random.default_rng(1).exponential(size=(400, 60))
    estimates = [bootstrap_over_images(outcomes, resamples=499) for outcomes in draws]
    assert cover_at([covers(estimate, 1) for estimate in estimates], slack=0.015)
    assert {(estimate.n_seeds, estimate.n_images) for estimate in estimates} == {(1, 60)}


def test_interval_over_images_is_skewed_like_the_outcomes():
    outcomes = np.random.default_rng(8).exponential(size=40) ** 2
    interval = bootstrap_over_images(outcomes).interval
    assert interval is not None
    intervals = {
        method: bootstrap((outcomes,), np.mean, method=method, rng=9).confidence_interval
        for method in ("BCa", "percentile")
    }
    assert np.ptp(interval) == pytest.approx(np.ptp(intervals["BCa"]), rel=0.05)
    assert interval[1] == pytest.approx(intervals["BCa"].high, rel=0.03)
    assert interval[1] > 1.05 * intervals["percentile"].high


def test_a_drawn_image_brings_the_outcomes_of_all_seeds():
    outcomes = np.random.default_rng(2).random((3, 500)) < np.linspace(0.1, 1, 500)
    together = bootstrap_over_images(outcomes)
    assert together.interval == bootstrap_over_images(outcomes.mean(axis=0)).interval
    assert (together.n_seeds, together.n_images) == (3, 500)
    assert together.interval != bootstrap_over_images(outcomes, seed=1).interval
    assert together == bootstrap_over_images(outcomes)


def test_constant_outcomes_have_no_interval():
    estimate = bootstrap_over_images(np.ones((2, 50), dtype=bool))
    assert (estimate.mean, estimate.interval) == (1, None)
    with pytest.raises(UserError, match="finite numbers"):
        bootstrap_over_images([])
