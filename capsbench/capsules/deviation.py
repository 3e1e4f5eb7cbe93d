"""How far apart two tensors are that should be equal: the answer of each ``check_...`` question."""

from __future__ import annotations

import math

from torch import Tensor


def deviation(found: Tensor, expected: Tensor) -> float:
    """The largest difference, relative to the largest expected value.

    Questions such as ``layer.check_couplings(children)`` answer with a deviation: zero where a
    property holds exactly, about the rounding of the dtype where it holds, and a number worth
    reading where it does not.

    Args:
        found: Any shape.
        expected: The same shape.

    Returns:
        max |found - expected| / max |expected|; the difference itself where all expected are zero,
        NaN where either holds a NaN, and 0 for tensors without elements.
    """
    differences = (found - expected).abs()
    if not differences.numel():
        return 0.0
    difference, scale = differences.max().item(), expected.abs().max().item()
    return difference / scale if scale else difference


def largest(*deviations: float) -> float:
    """The largest deviation; NaN if one is, which Python's ``max`` may pass over as the smaller."""
    return max(deviations, key=lambda one: (math.isnan(one), one))
