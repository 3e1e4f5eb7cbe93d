"""Confusion matrices at every view, counted from the predictions in records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsbench.files.csv_text import csv_text
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.comparisons.per_image import load_arrays
from capsbench.values import Value, select

NO_CLASS = "none"
CSV_NAME = "confusions.csv"  # beside the page
COLUMNS = ("label", "factor", "view", "split", "class", "predicted", "images")


class Confusions(NamedTuple):
    """Numbers of images of a cell at V views.

    Attributes:
        views: The accuracies at the views.
        counts: (V, K, K + 1) by class and by predicted class; the last one is none, of outputs that
            are not finite.
    """

    views: list[Value]
    counts: NDArray[np.int64]


@dataclass(frozen=True)
class ModelConfusions:
    """Confusions of all models at the same V views, over all of their seeds.

    Attributes:
        views: The accuracies at the views.
        names: Names of the K classes.
        counts: (V, K, K + 1) numbers of images by title of the model, see `Confusions`.
    """

    views: Sequence[Value]
    names: Sequence[str]
    counts: Mapping[str, NDArray[np.int64]]

    @property
    def predictable(self) -> list[str]:
        """Names of the K + 1 predictions."""
        return [*self.names, NO_CLASS]


def model_confusions(results: Results) -> ModelConfusions | None:
    """Return the confusions of all models.

    Args:
        results: The records.

    Returns:
        None if no model has recorded predictions, or the benchmark varies something.
    """
    described = results.data()
    if described is None or results.benchmark.vary:
        return None
    views, counts = list[Value](), dict[str, NDArray[np.int64]]()
    for title, cells in results.by_label().items():
        by_seed = [each for cell in cells if (each := confusions(cell, described.num_classes))]
        if by_seed:
            views = by_seed[0].views
            counts[title] = np.sum([each.counts for each in by_seed], axis=0)
    if not counts:
        return None
    examples = results.record.examples
    names = () if examples is None else examples.class_names
    return ModelConfusions(
        views, names or [str(number) for number in range(described.num_classes)], counts
    )


def confusions_csv(confused: ModelConfusions) -> str:
    """Return the numbers of images above 0 as CSV, over all seeds of a model."""
    return csv_text(COLUMNS, _csv_rows(confused))


def _csv_rows(confused: ModelConfusions) -> Iterator[dict[str, str | float | None]]:
    for title, counts in confused.counts.items():
        for view, target, predicted in np.argwhere(counts).tolist():
            at = confused.views[view]
            yield {
                "label": title,
                "factor": at.factor,
                "view": at.view,
                "split": at.split,
                "class": confused.names[target],
                "predicted": confused.predictable[predicted],
                "images": int(counts[view, target, predicted]),
            }


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
