"""Tables as data: CSV and JSON with numbers in place of texts, where a table knows them."""

from __future__ import annotations

from typing import Any

from capsbench.files.csv_text import csv_text
from capsbench.reporting.tables.table import MISSING, Table, TableCell


def render_csv(table: Table) -> str:
    """Return a table as CSV: numbers where the table knows them, and texts elsewhere.

    A column of means is followed by three others: low and high of the 95 % interval, and the number
    of seeds. Shares are between 0 and 1.
    """
    columns = [column.title for column in table.columns]
    rows = [dict(zip(columns, row.contents(), strict=True)) for row in table.rows]
    means = {name for name in columns if any(row[name].seeds for row in rows)}
    written = {name: (name, *(_further(name) if name in means else ())) for name in columns}
    return csv_text(
        [each for names in written.values() for each in names],
        [
            {
                each: value
                for name, cell in row.items()
                for each, value in zip(written[name], _values(cell), strict=False)
            }
            for row in rows
        ],
    )


def as_json(table: Table) -> dict[str, Any]:
    """Return a table as plain JSON, each cell with its text, and with its numbers if it has any."""
    return {
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "columns": [column.title for column in table.columns],
        "rows": [[_cell(cell) for cell in row.contents()] for row in table.rows],
        "notes": list(table.notes),
    }


def _further(name: str) -> tuple[str, str, str]:
    return f"{name}: low", f"{name}: high", f"{name}: seeds"


def _values(cell: TableCell) -> tuple[Any, ...]:
    """Return the number or text of a cell, then low, high and the number of seeds."""
    text = None if cell.text == MISSING else cell.text
    limits = cell.limits or (None, None)
    return (text if cell.number is None else cell.number, *limits, cell.seeds or None)


def _cell(cell: TableCell) -> dict[str, Any]:
    low, high = cell.limits or (None, None)
    fields = {
        "text": cell.text,
        "number": cell.number,
        "low": low,
        "high": high,
        "seeds": cell.seeds or None,
        "best": cell.best or None,
        "details": cell.details or None,
        "note": cell.note or None,
    }
    return {name: value for name, value in fields.items() if value is not None}
