"""The table of every page: built once from records, rendered for terminal, Markdown and HTML."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from capsbench.reporting.formatting import counted

if TYPE_CHECKING:
    from capsbench.statistics.intervals import Interval
    from capsbench.values import Quantity

MISSING = "–"
NUMBER = re.compile(r"(?:[<>≥≤±×] ?)?(-?\d[\d,]*(?:\.\d+)?)(?![\w-])")


@dataclass(frozen=True)
class TableCell:
    """Contents of one cell, as plain text.

    Attributes:
        text: Main text, such as a mean with its unit.
        interval: 95 % interval of the mean; empty if undefined.
        values: Value of every seed behind the mean; empty if the text is not a mean.
        seeds: Number of these values.
        details: Further facts in small print, such as what the number belongs to.
        note: Remark that a reader must see beside the text, such as a seed at chance.
        number: Number that the text stands for, by which a reader can sort; None if the text alone
            tells it.
        limits: Low and high of the interval, as numbers; None if undefined.
        best: True for a mean that may be the best of its column.
        link: Address to which the text links on a page; empty for no link.
        copied: True for a command, which a button on a page copies.
    """

    text: str
    interval: str = ""
    values: str = ""
    seeds: int = 0
    details: str = ""
    note: str = ""
    number: float | None = None
    limits: Interval | None = None
    best: bool = False
    link: str = ""
    copied: bool = False

    @property
    def order(self) -> float | None:
        """Number by which the cell is sorted; None for text.

        >>> TableCell("−2.5 pts").order, TableCell("118,987").order, TableCell("< 0.001").order
        (-2.5, 118987.0, 0.001)
        """
        if self.number is not None:
            return self.number
        match = NUMBER.match(self.text.replace("−", "-"))
        return float(match[1].replace(",", "")) if match else None

    @property
    def line(self) -> str:
        """All of it on one line.

        >>> TableCell("98.3 %", values="98.4, 98.2", seeds=2).line
        '98.3 % (98.4, 98.2; 2 seeds)'
        """
        parts = [self.details] if self.details else []
        parts += [f"95 % interval {self.interval}"] if self.interval else []
        parts += [self.values] if self.values else []
        parts += [counted(self.seeds, "seed")] if self.seeds else []
        parts += [self.note] if self.note else []
        return f"{self.text} ({'; '.join(parts)})" if parts else self.text


@dataclass(frozen=True)
class TableColumn:
    """Heading of a column.

    Attributes:
        title: Text of the heading.
        numeric: True for numbers, which are aligned to the right.
        accuracy: Measure and quantity of a column of accuracies, one model a row; None for others.
        group: What the column belongs to, such as a benchmark; empty for nothing.
    """

    title: str
    numeric: bool = True
    accuracy: tuple[str, Quantity] | None = None
    group: str = ""


@dataclass(frozen=True)
class TableRow:
    """One row.

    Attributes:
        cells: As many as the table has columns; a string is a cell with that text, None is a cell
            without a value.
        color: Place of the row's model in the list of models, for its color; None for no color.
        marked: True for a row that stands out, such as a familiar view.
    """

    cells: tuple[TableCell | str | None, ...]
    color: int | None = None
    marked: bool = False

    def contents(self) -> list[TableCell]:
        """Return every cell in full."""
        return [_cell(cell) for cell in self.cells]


@dataclass(frozen=True)
class Table:
    """A table with its heading and caption.

    Attributes:
        name: Anchor on the page, and file name of the table's own file if it has one.
        title: Heading.
        columns: Headings of the columns; the first one heads the rows.
        rows: The rows.
        caption: Definition of the numbers, in a few sentences.
        notes: Sentences on what is missing, one per line.
        sortable: False if rows belong to those above them.
    """

    name: str
    title: str
    columns: tuple[TableColumn, ...]
    rows: tuple[TableRow, ...]
    caption: str = ""
    notes: tuple[str, ...] = ()
    sortable: bool = True


def text_columns(*titles: str) -> tuple[TableColumn, ...]:
    """Return columns of text."""
    return tuple(TableColumn(title, numeric=False) for title in titles)


def number_columns(*titles: str) -> tuple[TableColumn, ...]:
    """Return columns of numbers."""
    return tuple(TableColumn(title) for title in titles)


def text_rows(rows: Sequence[Sequence[str]]) -> tuple[TableRow, ...]:
    """Return rows of plain text."""
    return tuple(TableRow(tuple(row)) for row in rows)


def _cell(cell: TableCell | str | None) -> TableCell:
    if cell is None:
        return TableCell(MISSING)
    return TableCell(cell) if isinstance(cell, str) else cell
