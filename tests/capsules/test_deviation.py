"""Deviations: relative, NaN where something is, zero of nothing."""

import math
from itertools import permutations

import pytest
import torch

from capsbench.capsules.deviation import deviation, largest


def test_deviation_is_relative_unless_zero_is_expected():
    assert deviation(torch.tensor([3.0, -4.0]), torch.tensor([3.0, -5.0])) == pytest.approx(0.2)
    assert deviation(torch.tensor([0.0, 0.5]), torch.zeros(2)) == 0.5


def test_tensors_without_elements_do_not_deviate():
    assert deviation(torch.empty(0, 3), torch.empty(0, 3)) == 0


def test_largest_deviation_is_nan_if_one_is():
    assert largest(0.1, 0.3, 0.2) == 0.3
    assert math.isnan(deviation(torch.tensor([0.0, math.nan]), torch.zeros(2)))
    for some in permutations([0.0, math.nan, math.inf]):
        assert math.isnan(largest(*some))
