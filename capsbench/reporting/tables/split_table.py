"""Table of accuracies on whole splits and ranges of views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds, quantities
from capsbench.reporting.formatting import count_range, listed
from capsbench.reporting.tables.mean_cell import WITH_SEEDS, mean_cell
from capsbench.reporting.tables.table import Table, TableColumn, TableRow, text_columns
from capsbench.values import MERGED_ACCURACY, Quantity

ACCURACY_BY_SPLIT = "accuracy-by-split"
MEASURES = (ACCURACY_BY_SPLIT, "averaged-accuracy")
METRICS = ("accuracy", MERGED_ACCURACY, "object_accuracy")
MERGED_REASON = (
    "Images that are turned by more than a quarter can show another class than their label says, "
    "as a 6 upside down shows a 9; such classes count as one in a column beside the plain accuracy."
)
CROPS = {"averaged": "averaged crops", "single": "single crop"}


def split_table(results: Results) -> Table | None:
    """Return the table with one row per model; None if nothing is measured on splits."""
    columns = [
        (measure, quantity)
        for measure in MEASURES
        for quantity in quantities(results.cells, measure)
        if quantity.metric in METRICS
    ]
    if not columns:
        return None
    color_indices = results.color_indices()
    rows = {
        title: [aggregate_seeds(cells, *column) for column in columns]
        for title, cells in results.by_label().items()
    }
    caption = (
        "Accuracy on test images, each seen from one view, the same for every model: the mean over "
        f"seeds {WITH_SEEDS}."
    )
    if any(quantity.metric == "object_accuracy" for _, quantity in columns):
        caption += (
            " An image with several objects is correct if all of them are; by object, each one "
            "counts separately."
        )
    if any(quantity.metric == MERGED_ACCURACY for _, quantity in columns):
        caption += f" {MERGED_REASON}"
    caption += _images([quantity for _, quantity in columns], list(rows.values()))
    return Table(
        name="splits",
        title="Accuracy on splits and ranges of views",
        columns=(
            *text_columns("Model"),
            *accuracy_columns(columns),
        ),
        rows=tuple(
            TableRow((title, *map(mean_cell, numbers)), color=color_indices[title])
            for title, numbers in rows.items()
        ),
        caption=caption,
    )


def _images(columns: Sequence[Quantity], rows: Sequence[Sequence[SeedValues | None]]) -> str:
    """Return a sentence on the number of test images behind each column."""
    counts: dict[str, set[int]] = {}
    for numbers in rows:
        for quantity, seed_values in zip(columns, numbers, strict=True):
            if seed_values is not None:
                counts.setdefault(str(quantity.split), set()).update(seed_values.images)
    ranges = {split: count_range(each) for split, each in counts.items() if each}
    if not ranges:
        return ""
    if len(set(ranges.values())) == 1:
        return f" Test images in each column: {next(iter(ranges.values()))}."
    return f" Test images: {listed([f'{split} {each}' for split, each in ranges.items()])}."


def accuracy_columns(columns: Iterable[tuple[str, Quantity]]) -> tuple[TableColumn, ...]:
    """Return the columns of accuracies, each given by its measure and quantity."""
    return tuple(
        TableColumn(heading(quantity), accuracy=(measure, quantity))
        for measure, quantity in columns
    )


def heading(quantity: Quantity) -> str:
    """Return the heading of an accuracy's column.

    >>> heading(Quantity(metric="object_accuracy", split="familiar"))
    'Familiar, by object'
    >>> heading(Quantity(metric="accuracy", split="novel", condition={"crops": "averaged"}))
    'Novel, averaged crops'
    >>> heading(Quantity(metric="merged_accuracy", split="novel", condition={"classes": "6 and 9"}))
    'Novel, 6 and 9 as one'
    """
    words = [str(quantity.split)]
    words += [f"{classes} as one"] if (classes := quantity.condition.get("classes")) else []
    words += ["by object"] if quantity.metric == "object_accuracy" else []
    words += [CROPS[str(crops)]] if (crops := quantity.condition.get("crops")) else []
    text = ", ".join(words)
    return text[:1].upper() + text[1:]
