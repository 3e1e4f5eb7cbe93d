"""Figure of ``capsbench bench``: speedup of each row over its baseline."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from capsbench.reporting.figures.plotting import new_figure
from capsbench.reporting.figures.style import INK, PAPER, SERIES
from capsbench.speed.rows import RowResult
from capsbench.speed.table import format_number

WIDTH, LINE_HEIGHT, PANEL_MARGIN = 7.2, 0.19, 0.75  # inches
FASTER, SLOWER = SERIES[0].color, SERIES[1].color
GREY = "#767b82"


class _Line(NamedTuple):
    """Line of a panel: the name of a comparison, a row, or the names of unmeasured rows."""

    text: str
    result: RowResult | None = None
    faint: bool = False


def ratios_figure(results: Sequence[RowResult]) -> Figure:
    """Draw a bar for each row from the baseline (1) to its ratio, on a logarithmic axis.

    Args:
        results: Results of all comparisons; those of a group and of a comparison are consecutive.
    """
    panels = {
        group: list(_lines(list(rows))) for group, rows in groupby(results, key=lambda r: r.group)
    }
    heights = [LINE_HEIGHT * len(lines) + PANEL_MARGIN for lines in panels.values()]
    with new_figure((WIDTH, sum(heights))) as figure:
        grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)
        for axes, (group, lines) in zip(grid[:, 0], panels.items(), strict=True):
            _draw_panel(axes, group, lines)
        grid[-1, 0].set_xlabel("speedup over the baseline (10th to 90th percentile of rounds)")
    return figure


def _lines(results: Sequence[RowResult]) -> Iterator[_Line]:
    for comparison, grouped in groupby(results, key=lambda result: result.comparison):
        rows = list(grouped)
        yield _Line(f"{comparison} (1: {rows[0].row})")
        for row in rows[1:]:
            if row.ratio is not None:
                yield _Line(row.row, row)
        if missing := [row.row for row in rows if row.not_measured is not None]:
            yield _Line(f"not measured: {', '.join(missing)}", faint=True)


def _draw_panel(axes: Axes, group: str, lines: Sequence[_Line]) -> None:
    axes.set_title(group, loc="left", fontweight="bold")
    axes.set_xscale("log")
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelbottom=True)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)  # for the numbers at the ends of the bars
    axes.axvline(1, color=INK, linewidth=0.9)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    bars = {y: line for y, line in enumerate(lines) if line.result is not None}
    axes.set_yticks(list(bars), [line.text for line in bars.values()], fontsize=8.5)
    for y, line in enumerate(lines):
        if line.result is not None:
            _draw_bar(axes, y, line.result)
        else:
            _draw_text(axes, y, line)


def _draw_bar(axes: Axes, y: int, result: RowResult) -> None:
    assert result.ratio is not None and result.ratio_p10 is not None and result.ratio_p90
    ratio, low, high = result.ratio, result.ratio_p10, result.ratio_p90
    colour = FASTER if ratio >= 1 else SLOWER
    axes.barh(y, ratio - 1, left=1, height=0.62, color=colour)
    axes.plot([low, high], [y, y], color=INK, linewidth=1)
    axes.annotate(
        format_number(ratio),
        (max(1, ratio, high), y),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
    )


def _draw_text(axes: Axes, y: int, line: _Line) -> None:
    """Write text over the whole width of the figure, on the paper's colour to hide grid lines."""
    figure = axes.get_figure()
    assert figure is not None
    text = axes.text(
        0.02,
        y,
        line.text,
        transform=blended_transform_factory(figure.transFigure, axes.transData),
        va="center",
        fontsize=8.5,
        color=GREY if line.faint else INK,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
    )
    text.set_in_layout(False)
