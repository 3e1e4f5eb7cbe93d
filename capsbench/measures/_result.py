"""Result of every measure: tidy values, per-image arrays and notes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from numpy.typing import NDArray

from capsbench.values import Value

Array = NDArray[Any]


class MeasureResult(NamedTuple):
    """Result of a measure.

    Attributes:
        values: The numbers as tidy rows; each quantity appears once.
        per_image: Arrays by name. Under the name of a quantity, what each image contributed to its
            value: (N,), or (V, N) if the value is also a mean over V views; the mean of all is the
            value. Under `index_name`, (N,) each image's number in its source. Others are free.
        notes: Sentences on what was not measured, and why.
    """

    values: Sequence[Value]
    per_image: dict[str, Array]
    notes: tuple[str, ...] = ()


def index_name(split: str | None = None) -> str:
    """Return the name of the array that holds each image's number in its source.

    Args:
        split: The split that values name, where splits have images of their own.

    >>> index_name(), index_name("novel")
    ('index', 'index[split=novel]')
    """
    return "index" if split is None else f"index[split={split}]"


def object_name(split: str | None = None) -> str:
    """Return the name of the array that holds the number of the object that each image shows.

    >>> object_name("novel")
    'object[split=novel]'
    """
    return index_name(split).replace("index", "object", 1)
