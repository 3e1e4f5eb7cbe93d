"""Correction of p-values for the number of comparisons, against its definition."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from capsbench.statistics.correction import corrected, holm
from capsbench.statistics.paired_difference import difference


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


def test_comparisons_that_are_defined_count():
    generator = np.random.default_rng(7)
    tables = [generator.random((3, 50)) < 0.5 for _ in range(3)]
    differences = [difference(tables[0], other, resamples=99) for other in tables[1:]]
    differences.append(difference(np.ones((3, 50)), np.ones((3, 50))))
    adjusted = corrected(differences)
    assert [each.comparisons for each in adjusted] == [2, 2, 2]
    p_values = [each.p for each in differences[:2]]
    assert [each.p for each in adjusted[:2]] == p_values
    assert [each.p_corrected for each in adjusted[:2]] == holm(p_values).tolist()
    assert np.isnan(adjusted[2].p_corrected)
