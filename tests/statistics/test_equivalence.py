"""Equivalence of two models, against two one-sided tests of scipy."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from capsbench.statistics.correction import corrected
from capsbench.statistics.equivalence import is_equivalent
from capsbench.statistics.paired_difference import difference_over_seeds


@pytest.mark.parametrize("count", [1, 4])
def test_it_is_two_one_sided_tests(count):
    results = []
    for gaps in np.random.default_rng(0).normal(0.005, 0.01, size=(60, 5)):
        each = corrected([difference_over_seeds(gaps, np.zeros(5))] * count)[0]
        above = ttest_1samp(gaps, -0.02, alternative="greater").pvalue
        below = ttest_1samp(gaps, 0.02, alternative="less").pvalue
        results.append(is_equivalent(each, 0.02))
        assert results[-1] == (max(above, below) < 0.025 / count)
    assert 0 < sum(results) < 60


def test_an_undefined_interval_is_no_evidence():
    assert not is_equivalent(difference_over_seeds([0.5, 0.5], [0.5, 0.5]), 0.02)
