"""Confusion matrices at every view, counted from the predictions in records."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsbench.records import CellResult
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.comparisons.per_image import load_arrays
from capsbench.values import Value, select


class Confusions(NamedTuple):
    """Numbers of images of a cell at V views.

    Attributes:
        views: The accuracies at the views.
        counts: (V, K, K + 1) by class and by predicted class; the last one is none, of outputs that
            are not finite.
    """

    views: list[Value]
    counts: NDArray[np.int64]


def confusions(cell: CellResult, num_classes: int) -> Confusions | None:
    """Return the confusions of a cell; None if its records have no predictions.

    Args:
        cell: The cell.
        num_classes: K.
    """
    record = cell.measures.get(ACCURACY_BY_VIEW)
    arrays = load_arrays(cell, ACCURACY_BY_VIEW) if record is not None else {}
    if record is None or "predicted" not in arrays:
        return None
    views = views_of(cell)
    counts = np.zeros((len(views), num_classes, num_classes + 1), dtype=np.int64)
    for row, (predicted, evaluated) in enumerate(
        zip(arrays["predicted"], arrays["evaluated"], strict=True)
    ):
        # Index -1, for none, is the last column.
        np.add.at(counts[row], (arrays["target"][evaluated], predicted[evaluated]), 1)
    return Confusions(views, counts)


def views_of(cell: CellResult) -> list[Value]:
    """Return the accuracies of a cell at single views, in the order of its per-image arrays."""
    values = select(cell.measures[ACCURACY_BY_VIEW].values, metric="accuracy")
    return [value for value in values if value.view is not None]
