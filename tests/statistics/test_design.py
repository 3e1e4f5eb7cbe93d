"""Designs: their evenness, which is counted, and their growth."""

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.statistics.design import sobol_design

SEEDS = st.integers(0, 2**63 - 1)


@settings(deadline=None)  # the first call imports scipy.stats
@given(st.integers(0, 6), st.integers(1, 20), SEEDS)
def test_each_interval_of_each_dimension_holds_one_point(power, dimensions, seed):
    design = sobol_design(2**power, dimensions, seed)
    cells = np.sort(np.floor(design * 2**power), axis=0)
    assert (cells == np.arange(2**power)[:, None]).all()


@settings(deadline=None)
@given(st.integers(1, 40), st.integers(1, 40), SEEDS)
def test_a_longer_design_begins_with_a_shorter_one(one, other, seed):
    short, long = sorted((one, other))
    few, many = sobol_design(short, 5, seed), sobol_design(long, 5, seed)
    assert few.shape == (short, 5)
    assert np.array_equal(few, many[:short])
    assert ((few >= 0) & (few < 1)).all()


def test_seeds_give_other_points():
    assert not np.isclose(sobol_design(8, 3, 0), sobol_design(8, 3, 1)).any()
