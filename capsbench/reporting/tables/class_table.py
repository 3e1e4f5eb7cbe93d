"""Table of classes: how many images of each are recognized, and what else they are taken for."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from capsbench.reporting.comparisons.confusions import CSV_NAME, ModelConfusions
from capsbench.reporting.formatting import percent
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)

CAPTION = (
    "Shares of the test images of a class over all seeds and views, each image at each view once. "
    "'Taken for' is the most frequent wrong prediction at novel views. The numbers of images at "
    f"every view are in {CSV_NAME}."
)


def class_table(confused: ModelConfusions, color_indices: dict[str, int]) -> Table:
    """Return one row per model and class.

    Args:
        confused: The confusions of all models.
        color_indices: Color index of each title.
    """
    return Table(
        name="classes",
        title="Classes",
        columns=(
            *text_columns("Model", "Class"),
            *number_columns("Familiar", "Novel"),
            *text_columns("Taken for"),
        ),
        rows=tuple(
            TableRow((title, *cells), color=color_indices[title])
            for title, counts in confused.counts.items()
            for cells in _rows(confused, counts)
        ),
        caption=CAPTION,
    )


def _rows(
    confused: ModelConfusions, counts: NDArray[np.int64]
) -> Iterator[tuple[TableCell | str | None, ...]]:
    is_familiar = np.array([view.split == "familiar" for view in confused.views])
    familiar, novel = counts[is_familiar].sum(axis=0), counts[~is_familiar].sum(axis=0)
    for index, name in enumerate(confused.names):
        shares = [_recognized(part[index], index) for part in (familiar, novel)]
        yield name, *shares, _taken_for(novel[index], index, confused.predictable)


def _recognized(row: NDArray[np.int64], index: int) -> TableCell | None:
    """Return the share of a class that is recognized; None without an image of it."""
    if not row.any():
        return None
    share = float(row[index] / row.sum())
    return TableCell(percent(share), number=share)


def _taken_for(row: NDArray[np.int64], index: int, names: list[str]) -> str | None:
    """Return the most frequent wrong prediction with its share; None if there is none."""
    wrong = row.copy()
    wrong[index] = 0
    if not wrong.any():
        return None
    most = int(wrong.argmax())
    return f"{names[most]} ({percent(wrong[most] / row.sum())})"
