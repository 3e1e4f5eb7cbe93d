"""Size, power and coverage of every procedure by simulation: a short one, and slow long ones."""

import numpy as np
import pytest

from capsbench.statistics.paired_difference import LEVEL
from tests.statistics import size_and_power
from tests.statistics.coverage import cover_at
from tests.statistics.simulations import (
    FAMILY,
    bootstrap_tests,
    detection_rate,
    equivalence_rate,
    family_errors,
    image_coverage,
    interval_coverage,
    mean_coverage,
    paired_tests,
    power_at_detectable,
    simulated_tests,
)


def at_most(hits, rate):
    """Check that the share of True is consistent with a true rate of ``rate`` or less."""
    return np.mean(hits) <= rate + 3 * np.sqrt(rate * (1 - rate) / len(hits))


@pytest.mark.parametrize("spread", [0.0, 0.4])
def test_true_nulls_are_rejected_in_at_most_five_per_cent(spread):
    p = simulated_tests(2000, 5, spread=spread, images=60)[-1]
    assert at_most(p < LEVEL, LEVEL)
    assert at_most(p < LEVEL / FAMILY, 0.002)
    assert np.mean(p < LEVEL) > 0.01  # not by never rejecting
    assert np.mean(p < 0.5) > 0.35


def test_intervals_of_a_difference_cover():
    covered = interval_coverage(300, 5, spread=0.4, true=0.1)
    assert cover_at(covered, slack=0.02)


def test_intervals_of_a_mean_cover():
    bounded, _ = mean_coverage(300, 5, ease=2.35, spread=0.15)
    assert cover_at(bounded, slack=0.02)


def test_a_family_has_few_false_positives():
    assert at_most(family_errors(200, 6, 5, spread=0.2, images=60), LEVEL)


def test_a_difference_beyond_the_bound_is_rarely_called_equivalence():
    rates = [equivalence_rate(100, 5, true=true, spread=0.03, images=1000) for true in (0.02, 0)]
    assert at_most(rates[0], LEVEL / 2)
    assert np.mean(rates[1]) > 0.1


def test_the_power_is_the_predicted_one():
    _, detected = power_at_detectable(3000, 10, 1, image_share=0.2)
    assert np.mean(detected) == pytest.approx(0.8, abs=0.03)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize("spread", [0.0, 0.1, 0.2, 0.4, 0.8])
def test_sizes(seeds, spread):
    p = simulated_tests(10_000, seeds, spread=spread)[-1]
    assert at_most(p < LEVEL, LEVEL)
    assert at_most(p < LEVEL / FAMILY, 0.002 if seeds > 3 else 0.004)
    assert np.mean(p < LEVEL) > 0.015


@pytest.mark.slow
def test_the_paired_test_over_seeds_has_its_size():
    for seeds in (3, 5, 10):
        p = paired_tests(50_000, seeds)
        assert cover_at(p >= LEVEL)
        assert cover_at(p >= LEVEL / FAMILY, 1 - LEVEL / FAMILY)
        assert at_most(paired_tests(50_000, seeds, skewed=True) < LEVEL, LEVEL)


@pytest.mark.slow
def test_the_bootstrap_has_too_many_small_p_values():
    """The reason for Student's t, which has its size far below 5 % too."""
    p = bootstrap_tests(600, 3, spread=0.4, resamples=999)
    assert cover_at(p >= LEVEL, slack=0.03)
    assert np.mean(p < 0.005) > 0.01
    assert at_most(simulated_tests(3000, 3, spread=0.4)[-1] < 0.005, 0.01)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize("spread", [0.1, 0.4])
@pytest.mark.parametrize("true", [0.0, 0.1, -0.6])
def test_intervals_of_differences_cover_at_least_ninety_four_per_cent(seeds, spread, true):
    assert at_most(~interval_coverage(3000, seeds, spread=spread, true=true), 0.06)


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, 5, 10])
def test_intervals_of_means_cover_better_than_students(seeds):
    for ease, spread in ((0.0, 0.3), (1.3, 0.1), (2.35, 0.15)):
        bounded, free = mean_coverage(3000, seeds, ease=ease, spread=spread)
        assert cover_at(bounded, slack=0.01)
        assert np.mean(bounded) >= np.mean(free) - 0.005


@pytest.mark.slow
def test_families_keep_their_level():
    for comparisons in (6, FAMILY):
        assert at_most(family_errors(1000, comparisons, 5, spread=0.4), LEVEL)


@pytest.mark.slow
@pytest.mark.parametrize(("seeds", "least"), [(5, 0.72), (10, 0.77)])
def test_power_is_nearly_the_predicted_one(seeds, least):
    """Degrees of freedom that are estimated from few seeds cost some of it."""
    for image_share in (0.0, 0.2):
        _, detected = power_at_detectable(10_000, seeds, 6, image_share=image_share)
        assert least < np.mean(detected) < 0.82


@pytest.mark.slow
def test_five_points_are_detected_by_five_seeds_that_deviate_by_one_and_a_half():
    rates = detection_rate(1000, 5, true=0.05, spread=size_and_power.SPREAD_OF_PLANS)
    assert rates[0] > 0.95
    assert rates[1] > 0.78


@pytest.mark.slow
def test_intervals_over_images_cover():
    assert cover_at(image_coverage(500), slack=0.015)


@pytest.mark.slow
def test_the_tables_are_printed(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["size_and_power", "--repetitions", "60", "--bootstraps", "5"])
    size_and_power.main()
    printed = capsys.readouterr().out
    assert "| 10 | 30 |" in printed
    assert "nan" not in printed
