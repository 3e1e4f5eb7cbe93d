"""Correction of p-values for the number of comparisons."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from capsbench.statistics.intervals import Floats
from capsbench.statistics.paired_difference import Difference


def holm(p_values: ArrayLike) -> Floats:
    """Return p-values corrected for their number (Holm 1979).

    The i-th smallest of m becomes max_{j <= i} min(1, (m - j + 1) p_j). With all of them tested at
    5 %, the probability of any false positive stays below 5 %, for any dependence between them.

    Args:
        p_values: (M,). Undefined ones (NaN) stay undefined and do not count.
    """
    values = np.asarray(p_values, dtype=float)
    order = np.argsort(values)  # NaN last
    defined = order[: np.isfinite(values).sum()]
    factors = np.arange(len(defined), 0, -1)
    result = np.full_like(values, np.nan)
    result[defined] = np.minimum(1, np.maximum.accumulate(factors * values[defined]))
    return result


def corrected(differences: Sequence[Difference]) -> list[Difference]:
    """Return the differences with p-values corrected for the number of comparisons, by `holm`.

    Args:
        differences: All comparisons that were made, not only the large ones.
    """
    adjusted = holm([each.p for each in differences])
    count = int(np.isfinite(adjusted).sum())
    return [
        each._replace(p_corrected=float(p), comparisons=count)
        for each, p in zip(differences, adjusted, strict=True)
    ]
