"""Tables of an evaluation: every value of each measure, with its interval over test images."""

from __future__ import annotations

from collections.abc import Mapping

from capsbench.measures import MeasureResult
from capsbench.names import without_folder
from capsbench.reporting.tables.quantity_text import quantity_text
from capsbench.reporting.tables.table import Table, TableRow, number_columns, text_columns
from capsbench.statistics.intervals import Interval
from capsbench.values import Quantity


def evaluation_tables(
    results: Mapping[str, MeasureResult], intervals: Mapping[str, Mapping[Quantity, Interval]]
) -> list[Table]:
    """Return one table per measure.

    Args:
        results: Result of each measure by its name.
        intervals: 95 % intervals by measure and quantity.
    """
    return [_table(name, result, intervals[name]) for name, result in results.items()]


def _table(measure: str, result: MeasureResult, intervals: Mapping[Quantity, Interval]) -> Table:
    rows = []
    for value in result.values:
        limits = intervals.get(value.quantity)
        interval = None if limits is None else f"{limits[0]:.4g} to {limits[1]:.4g}"
        number = f"{value.value:.4g}"
        images = f"{value.n:,}" if value.n else None
        rows.append(TableRow((quantity_text(value), number, interval, images)))
    return Table(
        name="values",
        title=without_folder(measure),
        columns=(*text_columns("Quantity"), *number_columns("Value", "95 % interval", "Images")),
        rows=tuple(rows),
        notes=result.notes,
    )
