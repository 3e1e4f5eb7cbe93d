"""Intervals that stay inside of a range, such as those of accuracies.

A t interval of a mean near the end of its range, or of values of which one is far off, reaches
beyond what is possible. Here the standard error depends on the true mean μ within the range (a, b):
no variance is larger than (μ - a)(b - μ) (Bhatia & Davis 2000), and the observed share of that
bound is taken to hold for every μ. The means that differ from the measured one by no more than a
quantile of Student's t times their standard error form an interval: that of Wilson (1927) with an
effective sample size, as for shares in clustered samples (Dean & Pagano 2015).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike

from capsbench.statistics.intervals import Interval, t_interval

SHARES = (0.0, 1.0)  # range of an accuracy
DIFFERENCES_OF_SHARES = (-1.0, 1.0)


def bounded_t_interval(values: ArrayLike, bounds: Interval) -> Interval | None:
    """Return the 95 % interval of a mean over seeds inside of a range, see `score_interval`.

    Args:
        values: (S,), one value per seed.
        bounds: Lowest and highest possible value.

    Returns:
        None (undefined) below three seeds, and if all values are equal.
    """
    limits = t_interval(values)
    return None if limits is None else score_interval(limits, bounds)


def score_interval(limits: Interval, bounds: Interval) -> Interval:
    """Return the interval inside of a range that belongs to a symmetric one, such as a t interval.

    With m the middle of the symmetric interval and h half its width, its limits are the roots μ of
    ``(μ - m)² = h² (μ - a)(b - μ) / ((m - a)(b - m))``. It contains m, and is (m - h, m + h) in the
    limit of a small h.

    Args:
        limits: Limits m - h and m + h.
        bounds: a and b, of which m lies inside.
    """
    middle, radius = (bounds[0] + bounds[1]) / 2, (bounds[1] - bounds[0]) / 2
    # In units in which the range is -1 to 1.
    low, high = ((limit - middle) / radius for limit in limits)
    mean, half = (low + high) / 2, (high - low) / 2
    room = 1 - mean**2
    if half == 0 or room <= 0:  # no value varies, or only by rounding at the end of the range
        low, high = np.clip((low, high), -1, 1)
    else:
        share = half**2 / room
        width = np.hypot(half, share)
        low, high = (mean - width) / (1 + share), (mean + width) / (1 + share)
    return float(middle + radius * low), float(middle + radius * high)


def range_of_difference(first: Interval | None, second: Interval | None) -> Interval | None:
    """Return the range of a difference, first minus second; None if either has no range."""
    if first is None or second is None:
        return None
    return first[0] - second[1], first[1] - second[0]
