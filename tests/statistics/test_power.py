"""Smallest detectable differences, against the noncentral t of scipy and by simulation."""

import numpy as np
import pytest
from scipy.stats import nct
from scipy.stats import t as student_t

from capsbench.statistics.paired_difference import Difference, difference_over_seeds
from capsbench.statistics.power import smallest_detectable


def of_seeds(seeds, *, comparisons=1):
    """A comparison of two models whose seeds alone differ, with a deviation of 1."""
    return Difference(
        mean=0.0,
        standard_error=np.sqrt(2 / seeds),
        degrees=2 * (seeds - 1),
        interval=None,
        p=1.0,
        p_corrected=1.0,
        n_seeds=(seeds, seeds),
        n_images=100,
        comparisons=comparisons,
    )


@pytest.mark.parametrize(("seeds", "expected"), [(3, 7.65), (5, 3.65), (10, 2.07)])
def test_it_takes_many_deviations_of_seeds_in_a_family_of_thirty(seeds, expected):
    detectable = smallest_detectable(of_seeds(seeds, comparisons=30))
    assert detectable == pytest.approx(expected, abs=0.005)


@pytest.mark.parametrize("power", [0.5, 0.8, 0.99])
@pytest.mark.parametrize("comparisons", [1, 200])
def test_the_power_there_is_the_one_that_was_given(power, comparisons):
    each = of_seeds(5, comparisons=comparisons)._replace(degrees=2.3)
    quotient = smallest_detectable(each, power) / each.standard_error
    critical = student_t.isf(0.025 / comparisons, 2.3)
    assert nct.sf(critical, 2.3, quotient) == pytest.approx(power)


def test_the_simulated_power_is_that_of_the_t_test():
    generator = np.random.default_rng(0)
    detectable = smallest_detectable(of_seeds(5))
    one = generator.normal(detectable, 1, size=(20_000, 5))
    other = generator.normal(size=(20_000, 5))
    error = np.sqrt((one.var(axis=1, ddof=1) + other.var(axis=1, ddof=1)) / 5)
    detected = one.mean(axis=1) - other.mean(axis=1) > student_t.ppf(0.975, 8) * error
    assert detected.mean() == pytest.approx(0.8, abs=0.01)


def test_an_undefined_comparison_detects_nothing():
    assert np.isnan(smallest_detectable(difference_over_seeds([0.5], [0.4])))
