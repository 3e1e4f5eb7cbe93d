"""The tables of a result for the terminal."""

from __future__ import annotations

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from capsbench.reporting import tables
from capsbench.reporting.results import Results
from capsbench.reporting.split_table import TITLE, SplitTable, split_table


def result_tables(results: Results) -> Group:
    """The summary, splits, and the errors of drawings: means over seeds, every seed's below."""
    found = split_table(results)
    splits = [_splits(found)] if found else []
    drawn = [_drawings(results)] if tables.drawings(results) else []
    return Group(_summary(results), *splits, *drawn)


def _summary(results: Results) -> Table:
    table = _table(results.benchmark.title)
    for title in tables.columns(results).values():
        table.add_column(title, justify="right")
    table.add_column("Parameters", justify="right", no_wrap=True)
    table.add_column("Seeds", justify="right", no_wrap=True)
    for row in tables.summary(results):
        # Text, not str: a label is no markup.
        table.add_row(
            Text("\n".join([row.label, *row.notes])),
            *(_entry(entry) for entry in row.entries.values()),
            Text(f"{row.parameters:,}" if row.parameters is not None else "–"),
            Text(f"{row.seeds} of {row.planned}"),
        )
    return table


def _splits(found: SplitTable) -> Table:
    table = _table(TITLE)
    for title in found.columns:
        table.add_column(Text(title), justify="right")
    for label, _, entries in found.rows:
        table.add_row(Text(label), *map(_entry, entries))
    return table


def _drawings(results: Results) -> Table:
    table = _table("Drawings of moved images")
    table.add_column("Views")
    for title in tables.DRAWING_COLUMNS[2:]:
        table.add_column(title, justify="right")
    for row in tables.drawings(results):
        table.add_row(
            Text(row.label),
            Text(row.views),
            _entry(row.error, tables.CANNOT_DRAW),
            Text(row.copy),
            Text(row.constant),
            _entry(row.share),
        )
    return table


def _table(title: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(title),
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("Model")
    return table


def _entry(entry: tables.Entry | None, missing: str = "–") -> Text:
    if entry is None:
        return Text(missing)
    return Text("\n").join([Text(entry.mean, style="bold"), Text(entry.seeds, style="dim")])
