"""Table of everything that was measured on one model, apart from single views."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.measures import load_measure
from capsbench.names import without_folder
from capsbench.records import CellResult
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, measures, quantities
from capsbench.reporting.comparisons.gains import seed_gains
from capsbench.reporting.formatting import count_range
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.quantity_text import quantity_text
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.values import Quantity

CONTROL = ("Before training", "Added by training")
CAPTION = (
    "Before training: the same networks with their initial weights. Added by training: the mean of "
    "the differences seed by seed."
)


def totals_table(cells: Sequence[CellResult]) -> Table | None:
    """Return a model's values over its seeds, each in its unit, without those of single views.

    Values of controlled measures are shown beside those of the same networks before training.

    Returns:
        The table; None if nothing is measured.
    """
    rows = [
        (
            without_folder(measure),
            quantity_text(quantity),
            mean_cell(seed_values, units[quantity.metric].unit),
            *_control(cells, measure, quantity, units[quantity.metric].unit),
            count_range(seed_values.images) if seed_values.images else None,
        )
        for measure in measures(cells)
        for units in [load_measure(measure).metrics]
        for quantity in quantities(cells, measure, view=None)
        if (seed_values := aggregate_seeds(cells, measure, quantity)) is not None
    ]
    if not rows:
        return None
    columns = (
        *text_columns("Measure", "Value"),
        *number_columns("Mean over seeds", *CONTROL, "Images"),
    )
    has_control = any(row[3] is not None for row in rows)
    kept = [
        index for index, column in enumerate(columns) if has_control or column.title not in CONTROL
    ]
    return Table(
        name="values",
        title="Measured values",
        columns=tuple(columns[index] for index in kept),
        rows=tuple(TableRow(tuple(row[index] for index in kept)) for row in rows),
        caption=CAPTION if has_control else "",
    )


def _control(
    cells: Sequence[CellResult], measure: str, quantity: Quantity, unit: str
) -> tuple[TableCell | None, TableCell | None]:
    """Return the cells of the networks before training, and of what training added."""
    untrained = aggregate_seeds(cells, measure, quantity.of_untrained())
    added = seed_gains(cells, measure, quantity)
    return (
        mean_cell(untrained, unit),
        mean_cell(added, "difference of shares" if unit == "share" else unit),
    )
