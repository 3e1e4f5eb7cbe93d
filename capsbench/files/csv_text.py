"""Tables as CSV that spreadsheets open without computing anything."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

FORMULA = (
    "=",
    "+",
    "-",
    "@",
    "\t",
    "\r",
)  # first characters of a formula, see OWASP's page on CSV injection


def csv_text(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    r"""Return rows as CSV; a text that a spreadsheet would take for a formula begins with ``'``.

    Numbers are written as they are.

    Args:
        columns: The columns.
        rows: Values by column; None and missing ones are empty.

    >>> csv_text(["model", "value"], [{"model": "=1+1", "value": -0.5}])
    "model,value\n'=1+1,-0.5\n"
    """
    stream = io.StringIO()
    writer = csv.DictWriter(stream, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({name: _plain(value) for name, value in row.items()} for row in rows)
    return stream.getvalue()


def _plain(value: Any) -> Any:
    return f"'{value}" if isinstance(value, str) and value.startswith(FORMULA) else value
