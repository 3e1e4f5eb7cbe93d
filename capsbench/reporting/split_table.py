"""The table of accuracies on whole splits and ranges of views, the same in every form."""

from __future__ import annotations

from dataclasses import dataclass

from capsbench.reporting.aggregate import keys, measured
from capsbench.reporting.results import ACCURACY_BY_SPLIT, AVERAGED_ACCURACY, Results
from capsbench.reporting.tables import Entry, accuracy

TITLE = "Accuracy on splits and ranges of views"
MEASURES = (ACCURACY_BY_SPLIT, AVERAGED_ACCURACY)


@dataclass(frozen=True)
class SplitTable:
    """One row per model, one column per split or range.

    Attributes:
        columns: Their headings.
        rows: Each model's label with its place in the list, and an entry per column, None where
            nothing is known.
    """

    columns: tuple[str, ...]
    rows: tuple[tuple[str, int, tuple[Entry | None, ...]], ...]


def split_table(results: Results) -> SplitTable | None:
    """The table, as far as measured; None where the benchmark asks for no such measure."""
    groups = results.by_label()
    columns = {
        (measure, key): heading(key)
        for measure in MEASURES
        for cells in groups.values()
        for key in keys(cells, measure=measure)
        if key.endswith("/accuracy")
    }
    if not columns:
        return None
    places = results.places()
    rows = (
        (
            label,
            places[label],
            tuple(accuracy(measured(cells, key, measure=measure)) for measure, key in columns),
        )
        for label, cells in groups.items()
    )
    return SplitTable(tuple(columns.values()), tuple(rows))


def heading(key: str) -> str:
    """A column's heading.

    >>> heading("novel/accuracy"), heading("familiar/objects/accuracy")
    ('Novel', 'Familiar, by object')
    >>> heading("familiar/averaged/accuracy")
    'Familiar, averaged crops'
    """
    name = key.removesuffix("/accuracy")
    words = name.removesuffix("/objects") + (", by object" if name.endswith("/objects") else "")
    words = words.replace("/averaged", ", averaged crops").replace("/single", ", single crop")
    return words[:1].upper() + words[1:]


def note(results: Results) -> str:
    """What the table's numbers are, in a sentence or two."""
    found = split_table(results)
    head = (
        "Accuracy on test images, each seen from one view, the same for every model; the mean over "
        "seeds with every seed's value beside it."
    )
    if found and any(column.endswith("by object") for column in found.columns):
        head += (
            " Where images hold several objects, an image is right if all of them are found; by "
            "object, each counts by itself."
        )
    return head
