"""Correction of p-values and intervals for the number of comparisons (Bonferroni)."""

import numpy as np
import pytest
from scipy.stats import t as student_t

from capsbench.statistics.bounded import score_interval
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import (
    Difference,
    difference,
    difference_over_seeds,
    with_t_test,
)


def interval_of(each):
    assert each.interval is not None
    return each.interval


def comparisons(count, *, bounds=None):
    generator = np.random.default_rng(7)
    base = generator.random((4, 80)) < 0.7
    rates = generator.normal(0.6, 0.2, size=(count, 1, 1))
    return [difference(base, generator.random((4, 80)) < rate, bounds=bounds) for rate in rates]


def test_p_and_interval_are_those_at_the_level_of_each():
    before = comparisons(6)
    for each, after in zip(before, corrected(before), strict=True):
        assert (after.p, after.comparisons) == (each.p, 6)
        assert after.p_corrected == pytest.approx(min(1, 6 * each.p))
        half = student_t.ppf(1 - 0.05 / 12, each.degrees) * each.standard_error
        assert after.interval == pytest.approx((each.mean - half, each.mean + half))


@pytest.mark.parametrize("bounds", [None, (-1, 1), (-0.7, 1.3)])
def test_p_and_interval_never_disagree(bounds):
    after = corrected(comparisons(40, bounds=bounds))
    excluded = [not low <= 0 <= high for low, high in map(interval_of, after)]
    assert excluded == [each.p_corrected < 0.05 for each in after]
    assert 0 < sum(excluded) < 40


def test_a_margin_does_not_part_p_and_interval():
    """A bounded interval alone could exclude zero, if that is not the middle of the range."""
    each = Difference(
        mean=0.45,
        standard_error=0.46 / student_t.ppf(0.975, 4),
        degrees=4,
        interval=None,
        p=np.nan,
        p_corrected=np.nan,
        n_seeds=(3, 3),
        n_images=10,
        bounds=(-0.5, 1.5),
    )
    assert score_interval((-0.01, 0.91), (-0.5, 1.5))[0] > 0
    low, high = interval_of(with_t_test(each))
    assert with_t_test(each).p > 0.05
    assert low <= 0
    assert 0.45 < high <= 0.91


def test_undefined_comparisons_do_not_count():
    constant = difference(np.ones((3, 50)), np.ones((3, 50)))
    adjusted = corrected([*comparisons(2), constant])
    assert {each.comparisons for each in adjusted} == {2}
    assert adjusted[2].interval is None
    assert np.isnan(adjusted[2].p_corrected)
    assert corrected([constant])[0].interval is None


def test_a_declared_family_includes_what_is_missing():
    declared = corrected(comparisons(2), 5)
    assert [each.comparisons for each in declared] == [5, 5]
    for each in declared:
        assert each.p_corrected == pytest.approx(min(1, 5 * each.p))
        half = student_t.ppf(1 - 0.05 / 10, each.degrees) * each.standard_error
        assert each.interval == pytest.approx((each.mean - half, each.mean + half))


def test_correction_is_repeatable():
    once = corrected(comparisons(3))
    assert corrected(once) == once


def test_values_over_seeds_are_corrected_alike():
    each = difference_over_seeds([0.9, 0.8, 0.7], [0.5, 0.6, 0.4])
    (low, high), wider = interval_of(each), interval_of(corrected([each, each])[0])
    assert wider[0] < low < high < wider[1]
