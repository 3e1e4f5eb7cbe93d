"""Relative errors: NaN for NaN, zero without elements."""

import math
from itertools import permutations

import pytest
import torch

from capsbench.capsules.relative_error import max_or_nan, max_relative_error


def test_error_is_relative_unless_zero_is_expected():
    assert max_relative_error(
        torch.tensor([3.0, -4.0]), torch.tensor([3.0, -5.0])
    ) == pytest.approx(0.2)
    assert max_relative_error(torch.tensor([0.0, 0.5]), torch.zeros(2)) == 0.5


def test_error_without_elements_is_zero():
    assert max_relative_error(torch.empty(0, 3), torch.empty(0, 3)) == 0


def test_maximum_is_nan_if_one_error_is():
    assert max_or_nan(0.1, 0.3, 0.2) == 0.3
    assert math.isnan(max_relative_error(torch.tensor([0.0, math.nan]), torch.zeros(2)))
    for errors in permutations([0.0, math.nan, math.inf]):
        assert math.isnan(max_or_nan(*errors))
