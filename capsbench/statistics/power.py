"""Power of a comparison: the differences that it can detect."""

from __future__ import annotations

import numpy as np

from capsbench.statistics.paired_difference import LEVEL, Difference

POWER = 0.8


def smallest_detectable(difference: Difference, power: float = POWER) -> float:
    """Return the true difference that a comparison like this one detects with a given power.

    Its corrected p-value is below 5 %, with the correct sign, in a share ``power`` of repetitions
    with a true difference of this size: Student's t is then noncentral, with the noncentrality
    difference / standard error (Cohen 1988, chapter 2).

    Args:
        difference: The difference, corrected for all comparisons.
        power: Probability of detection, between 0.5 and 1.

    Returns:
        The difference, positive, in the unit of the mean; NaN if the standard error is undefined.
    """
    if np.isnan(difference.standard_error):
        return np.nan
    from scipy.optimize import brentq
    from scipy.stats import nct
    from scipy.stats import t as student_t

    degrees = difference.degrees
    critical = student_t.isf(LEVEL / difference.comparisons / 2, degrees)
    least, most = critical / 2, 2 * critical
    while nct.sf(critical, degrees, most) < power:
        most *= 2
    noncentrality = brentq(lambda x: nct.sf(critical, degrees, x) - power, least, most)
    return float(difference.standard_error * noncentrality)
