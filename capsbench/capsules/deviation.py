"""How far apart two tensors are that should be equal: the answer of each ``check_...`` question."""

from __future__ import annotations

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
        max |found - expected| / max |expected|; the difference itself where all expected are zero.
    """
    difference = (found - expected).abs().max().item()
    scale = expected.abs().max().item()
    return difference / scale if scale else difference
