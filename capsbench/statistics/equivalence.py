"""Equivalence of two models: evidence that their difference is small."""

from __future__ import annotations

from capsbench.statistics.paired_difference import Difference


def is_equivalent(difference: Difference, bound: float) -> bool:
    """Check that a difference lies within ±``bound`` at 95 % for all its comparisons together.

    These are two one-sided tests (Schuirmann 1987), of a difference below -``bound`` and of one
    above ``bound``, carried out by the interval of the difference. Each has half the level of the
    interval, 2.5 % before the correction, so that interval and verdict agree.

    Args:
        difference: The difference, corrected for all comparisons.
        bound: Largest difference that counts as none, in the unit of the difference; it must be
            chosen before the measurement.

    Returns:
        False if the interval is undefined: missing evidence is not equivalence.
    """
    if difference.interval is None:
        return False
    low, high = difference.interval
    return -bound < low and high < bound
