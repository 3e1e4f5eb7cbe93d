"""Table of everything that was measured on one model, apart from single views."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.measures import load_measure
from capsbench.names import without_folder
from capsbench.records import CellResult
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, measures, quantities
from capsbench.reporting.formatting import count_range
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.quantity_text import quantity_text
from capsbench.reporting.tables.table import Table, TableRow, number_columns, text_columns


def totals_table(cells: Sequence[CellResult]) -> Table | None:
    """Return a model's values over its seeds, each in its unit, without those of single views.

    Returns:
        The table; None if nothing is measured.
    """
    rows = [
        TableRow(
            (
                without_folder(measure),
                quantity_text(quantity),
                mean_cell(seed_values, units[quantity.metric].unit),
                count_range(seed_values.images) if seed_values.images else None,
            )
        )
        for measure in measures(cells)
        for units in [load_measure(measure).metrics]
        for quantity in quantities(cells, measure, view=None)
        if (seed_values := aggregate_seeds(cells, measure, quantity)) is not None
    ]
    if not rows:
        return None
    return Table(
        name="values",
        title="Measured values",
        columns=(*text_columns("Measure", "Value"), *number_columns("Mean over seeds", "Images")),
        rows=tuple(rows),
    )
