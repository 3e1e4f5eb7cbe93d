"""Values of a measure that are finite numbers, and notes on the others."""

from __future__ import annotations

import math
from collections.abc import Iterable

from torch import Tensor

from capsbench.values import Quantity, Value

MAX_NAMES = 3  # in a note


def drop_nonfinite(
    numbers: Iterable[tuple[Quantity, Tensor | float, int]],
) -> tuple[list[Value], tuple[str, ...]]:
    """Return the finite numbers as values, and a note for each kind of the others.

    Args:
        numbers: For each value its quantity, the number (a 0-d tensor or a float; NaN where 0/0 is
            undefined) and the number of test images that it is computed from.

    Returns:
        The values, in their order, and the notes, which name the quantities that are left out.
    """
    values = list[Value]()
    undefined, infinite = list[str](), list[str]()
    for quantity, number, n in numbers:
        value = float(number)
        if math.isfinite(value):
            values.append(quantity.with_value(value, n))
        else:
            (undefined if math.isnan(value) else infinite).append(quantity.name)
    reasons = {"undefined (0/0)": undefined, "infinite (divided by 0)": infinite}
    notes = tuple(f"{why}: {first_names(names)}" for why, names in reasons.items() if names)
    return values, notes


def first_names(names: list[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    more = len(names) - MAX_NAMES
    return ", ".join(names[:MAX_NAMES]) + (f" and {more} more" if more > 0 else "")
