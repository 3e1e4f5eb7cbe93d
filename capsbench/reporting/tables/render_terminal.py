"""Tables for the terminal."""

from __future__ import annotations

from rich import box
from rich import table as rich_table
from rich.console import Group
from rich.text import Text

from capsbench.reporting.tables.table import Table, TableCell


def render(table: Table) -> Group:
    """Return a table for a rich console: means with the value of every seed below them."""
    # Text instead of str: rich would read a label as markup.
    rendered = rich_table.Table(
        box=box.SIMPLE_HEAD,
        title=Text(table.title),
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    for column in table.columns:
        rendered.add_column(Text(column.title), justify="right" if column.numeric else "left")
    for row in table.rows:
        rendered.add_row(*map(_text, row.contents()))
    return Group(rendered, *map(Text, table.notes))


def _text(cell: TableCell) -> Text:
    details = ((cell.details, "dim"), (cell.values, "dim"), (cell.note, "yellow"))
    below = [Text(line, style=style) for line, style in details if line]
    return Text("\n").join([Text(cell.text, style="bold"), *below]) if below else Text(cell.text)
