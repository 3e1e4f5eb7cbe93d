"""Result of a benchmark in the terminal."""

from __future__ import annotations

import io
import re
from dataclasses import replace
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.style import Style
from rich.text import Text

from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.failure_text import failure_lines, retry_line
from capsbench.reporting.networks import networks
from capsbench.reporting.tables import render_terminal
from capsbench.reporting.tables.failure_table import FAILED
from capsbench.reporting.tables.result_tables import terminal_tables

SVG_WIDTH = 120  # characters


def result_tables(results: Results) -> Group:
    """Return title, models and tables of the benchmark: means, with the value of every seed."""
    summary, *others = terminal_tables(results)
    if others and results.has_measure(ACCURACY_BY_VIEW):  # the others have accuracies as well
        summary = replace(summary, title=f"{summary.title}: accuracy by view")
    # Reasons and logs are too long for columns of a terminal.
    tables = [render_terminal.render(each) for each in (summary, *others) if each.name != FAILED]
    lines = [line for cell in results.cells for line in _failure_lines(cell)]
    again = [Text(retry_line(results.record.command))] if lines else []
    heading = Text(results.benchmark.title), Text(networks(results))
    return Group(*heading, *tables, *lines, *again)


def _failure_lines(cell: CellResult) -> list[Text]:
    if cell.failure is None:
        return []
    name = cell.title if cell.seed is None else f"{cell.title}, seed {cell.seed}"
    log = cell.folder.path / cell.failure.log if cell.failure.log else None
    return failure_lines(name, cell.failure.job, cell.failure.reason, log)


def as_svg(content: RenderableType, *, title: str) -> str:
    """Return what a terminal shows as an image; the same contents give the same bytes.

    Args:
        content: What a console prints.
        title: Title of the window.
    """
    console = Console(record=True, width=SVG_WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(content)
    # Without the fonts that rich would load from the network.
    return re.sub(r"\s*@font-face \{.*?\}", "", console.export_svg(title=title), flags=re.DOTALL)


def page_line(page: Path) -> Text:
    """Return one line with the link of a page, which a terminal opens with a click.

    Args:
        page: The file.
    """
    link = page.resolve().as_uri()
    return Text.assemble("page: ", (link, Style(link=link)))
