"""Intervals that cover, and p-values corrected for their number."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import bootstrap, ttest_1samp

from capsbench.errors import UserError
from capsbench.statistics.intervals import bootstrap_over_images, holm, t_interval
from tests.measures.coverage import cover_at, covers


def test_over_seeds_the_interval_is_students():
    values = [0.91, 0.94, 0.92, 0.97]
    expected = ttest_1samp(values, 0).confidence_interval(0.95)
    assert t_interval(values) == pytest.approx(tuple(expected))


def test_over_seeds_the_interval_covers():
    draws = np.random.default_rng(0).normal(size=(2000, 3))
    intervals = [t_interval(values) or (np.nan, np.nan) for values in draws]
    assert cover_at([low <= 0 <= high for low, high in intervals])


def test_two_seeds_have_no_interval():
    assert t_interval([0.5, 0.7]) is None


def test_over_images_the_interval_covers_of_skewed_outcomes():
    draws = np.random.default_rng(1).exponential(size=(400, 60))
    found = [bootstrap_over_images(outcomes, resamples=499) for outcomes in draws]
    assert cover_at([covers(estimate, 1) for estimate in found], slack=0.015)
    assert {(estimate.n_seeds, estimate.n_images) for estimate in found} == {(1, 60)}


def test_over_images_the_interval_leans_as_the_outcomes_do():
    outcomes = np.random.default_rng(8).exponential(size=40) ** 2
    found = bootstrap_over_images(outcomes).interval
    assert found is not None
    intervals = {
        method: bootstrap((outcomes,), np.mean, method=method, rng=9).confidence_interval
        for method in ("BCa", "percentile")
    }
    assert np.ptp(found) == pytest.approx(np.ptp(intervals["BCa"]), rel=0.05)
    assert found[1] == pytest.approx(intervals["BCa"].high, rel=0.03)
    assert found[1] > 1.05 * intervals["percentile"].high


def test_over_images_a_drawn_image_brings_all_its_seeds():
    outcomes = np.random.default_rng(2).random((3, 500)) < np.linspace(0.1, 1, 500)
    together = bootstrap_over_images(outcomes)
    assert together.interval == bootstrap_over_images(outcomes.mean(axis=0)).interval
    assert (together.n_seeds, together.n_images) == (3, 500)
    assert together.interval != bootstrap_over_images(outcomes, seed=1).interval
    assert together == bootstrap_over_images(outcomes)


def test_over_images_what_does_not_vary_has_no_interval():
    found = bootstrap_over_images(np.ones((2, 50), dtype=bool))
    assert (found.mean, found.interval) == (1, None)
    with pytest.raises(UserError, match="finite numbers by seed and image"):
        bootstrap_over_images([])


def naive_holm(p_values):
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    result, highest = [0.0] * len(p_values), 0.0
    for rank, i in enumerate(order):
        highest = max(highest, (len(p_values) - rank) * p_values[i])
        result[i] = min(1.0, highest)
    return result


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12))
def test_holm_equals_its_definition(p_values):
    assert holm(p_values).tolist() == pytest.approx(naive_holm(p_values))


def test_undefined_p_values_do_not_count():
    np.testing.assert_allclose(holm([0.01, np.nan, 0.04]), [0.02, np.nan, 0.04])
