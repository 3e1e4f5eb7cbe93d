"""The summary for the terminal."""

from __future__ import annotations

from rich import box
from rich.table import Table
from rich.text import Text

from capsbench.reporting import tables
from capsbench.reporting.results import Results


def summary_table(results: Results) -> Table:
    """The summary as a rich table: means over seeds, every seed's value below."""
    table = Table(
        box=box.SIMPLE_HEAD,
        title=Text(results.benchmark.title),
        title_justify="left",
        pad_edge=False,
        collapse_padding=True,
    )
    table.add_column("Model")
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


def _entry(entry: tables.Entry | None) -> Text:
    if entry is None:
        return Text("–")
    return Text("\n").join([Text(entry.mean, style="bold"), Text(entry.seeds, style="dim")])
