"""Table of what each case of a benchmark gains over its first one, model by model."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, quantities, subtract_seeds
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.split_table import MEASURES, METRICS, heading
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.values import Quantity


def case_table(results: Results) -> Table | None:
    """Return the table; None if the benchmark varies no cases, or measures nothing on splits."""
    vary = results.benchmark.vary
    columns = [
        (measure, quantity)
        for measure in MEASURES
        for quantity in quantities(results.cells, measure)
        if quantity.metric in METRICS
    ]
    if vary is None or vary.cases is None or not columns:
        return None
    first = next(iter(vary.cases))
    color_indices = results.color_indices()
    groups = results.by_label()
    rows = []
    for title, cells in groups.items():
        base = [c for c in results.cells if (c.label, c.point) == (cells[0].label, first)]
        if cells[0].point != first and base:
            gains = (_gain(cells, base, *column) for column in columns)
            rows.append(TableRow((title, *gains), color=color_indices[title]))
    if not rows:
        return None
    return Table(
        name="cases",
        title=f"Gain over the case '{first}'",
        columns=(
            *text_columns("Model"),
            *number_columns(*(heading(quantity) for _, quantity in columns)),
        ),
        rows=tuple(rows),
        caption=(
            f"Accuracy of each case minus that of the same model in the case '{first}', in "
            "percentage points: the mean of the differences seed by seed, with the 95 % t interval "
            "of the mean from three seeds. The intervals are not corrected for their number."
        ),
    )


def _gain(
    cells: Sequence[CellResult], base: Sequence[CellResult], measure: str, quantity: Quantity
) -> TableCell | None:
    sides = [aggregate_seeds(each, measure, quantity) for each in (base, cells)]
    cell = mean_cell(subtract_seeds(*sides), "difference of shares")
    return replace(cell, values="") if cell else None
