"""What every measure returns."""

from __future__ import annotations

from typing import Any, NamedTuple

from numpy.typing import NDArray

INDEX, OBJECT = "index", "object"  # samples that say which image, and which object, it is


class Measured(NamedTuple):
    """The outcome of a measure.

    Attributes:
        values: Numbers under stable keys, such as ``novel/accuracy`` and ``rotation=90/accuracy``.
        views: One row per view of a grid, for curves; none where there is no grid.
        n: Number of test images behind each value.
        samples: Per-sample outcomes, arrays by name.
        notes: What was left out, and why, in sentences.
    """

    values: dict[str, float]
    views: list[dict[str, Any]]
    n: int
    samples: dict[str, NDArray[Any]]
    notes: tuple[str, ...] = ()
