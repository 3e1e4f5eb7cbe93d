"""Which values of a measure are numbers, and a sentence for those that are not."""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor

SHOWN = 3  # keys in a sentence


def defined(values: Mapping[str, Tensor | float]) -> tuple[dict[str, float], tuple[str, ...]]:
    """Keep the values that are finite; a record holds no others.

    Args:
        values: 0-d tensors or numbers by key; NaN where 0/0 is undefined.

    Returns:
        The finite ones, and for each kind of the others a sentence that names them.
    """
    numbers = {key: float(value) for key, value in values.items()}
    undefined = [key for key, number in numbers.items() if math.isnan(number)]
    infinite = [key for key, number in numbers.items() if math.isinf(number)]
    told = {"undefined (0/0)": undefined, "infinite (divided by 0)": infinite}
    notes = tuple(f"{why}: {_listed(keys)}" for why, keys in told.items() if keys)
    finite = {key: number for key, number in numbers.items() if math.isfinite(number)}
    return finite, notes


def _listed(keys: list[str]) -> str:
    more = len(keys) - SHOWN
    return ", ".join(keys[:SHOWN]) + (f" and {more} more" if more > 0 else "")
