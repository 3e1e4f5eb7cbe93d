"""Distance between tensors that should be equal: the result of each ``check_...`` method."""

from __future__ import annotations

import math

from torch import Tensor


def max_relative_error(values: Tensor, expected: Tensor) -> float:
    """Return the largest difference, relative to the largest expected value.

    Checks such as ``layer.check_couplings(children)`` return this error. It is zero if a property
    holds exactly, about the rounding of the dtype if it holds numerically, and a measurement
    otherwise.

    Args:
        values: Any shape.
        expected: The same shape.

    Returns:
        ``max |values - expected| / max |expected|``; the absolute difference if all expected values
        are zero, NaN if a tensor contains NaN, and 0 for tensors without elements.
    """
    differences = (values - expected).abs()
    if not differences.numel():
        return 0.0
    difference, scale = differences.max().item(), expected.abs().max().item()
    return difference / scale if scale else difference


def max_or_nan(*errors: float) -> float:
    """Return the largest error, or NaN if one is NaN, which Python's ``max`` may skip."""
    return max(errors, key=lambda error: (math.isnan(error), error))
