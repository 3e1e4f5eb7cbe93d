"""Result of a benchmark in the terminal."""

from __future__ import annotations

from rich.console import Group
from rich.text import Text

from capsbench.records import Results
from capsbench.reporting.tables import render_terminal
from capsbench.reporting.tables.result_tables import terminal_tables


def result_tables(results: Results) -> Group:
    """Return the title of the benchmark and its tables: means, with the value of every seed."""
    tables = map(render_terminal.render, terminal_tables(results))
    return Group(Text(results.benchmark.title), *tables)
