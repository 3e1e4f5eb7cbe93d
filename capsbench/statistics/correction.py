"""Correction of p-values and intervals for the number of comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from capsbench.statistics.paired_difference import LEVEL, Difference, interval_at


def corrected(
    differences: Sequence[Difference], comparisons: int | None = None
) -> list[Difference]:
    """Return the differences with p-values and intervals corrected for their number (Bonferroni).

    With m comparisons, p becomes min(1, m p), and the interval that at confidence 1 - 0.05 / m.
    The probability that any interval misses the truth, or that any p-value below 5 % is a false
    positive, stays below 5 %, for any dependence between the comparisons (Dunn 1961).

    Args:
        differences: All comparisons that were made, not only the large ones.
        comparisons: Size of a family that was declared before the measurement, of which some may be
            missing. By default those with a p-value count.
    """
    if comparisons is None:
        comparisons = sum(not np.isnan(each.p) for each in differences)
    return [
        each._replace(
            p_corrected=float(np.minimum(1, comparisons * each.p)),
            interval=interval_at(each, LEVEL / max(comparisons, 1)),
            comparisons=comparisons,
        )
        for each in differences
    ]
