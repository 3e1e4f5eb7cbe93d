"""The figure of a benchmark: how many times as fast as its baseline each row is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator
from matplotlib.transforms import blended_transform_factory

from capsbench.reporting.plotting import new_figure
from capsbench.reporting.style import INK, PAPER, SERIES
from capsbench.speed.rows import Result
from capsbench.speed.table import number

WIDTH, LINE, HEAD = 7.2, 0.19, 0.75  # inches: of the figure, of a line of it, around a panel
FASTER, SLOWER = SERIES[0].color, SERIES[1].color
GREY = "#767b82"


class _Line(NamedTuple):
    """A line of a panel: the name of a comparison, a row, or what was not measured."""

    text: str
    result: Result | None = None
    faint: bool = False


def ratios_figure(results: Sequence[Result]) -> Figure:
    """A bar for each row from its baseline (1) to its ratio, on a logarithmic axis.

    Args:
        results: Of all comparisons, in their order; those of a group and of a comparison stand
            together.
    """
    panels = {
        group: list(_lines(list(rows))) for group, rows in groupby(results, key=lambda r: r.group)
    }
    heights = [LINE * len(lines) + HEAD for lines in panels.values()]
    with new_figure((WIDTH, sum(heights))) as figure:
        grid = figure.subplots(len(panels), 1, squeeze=False, sharex=True, height_ratios=heights)
        for axes, (group, lines) in zip(grid[:, 0], panels.items(), strict=True):
            _panel(axes, group, lines)
        grid[-1, 0].set_xlabel("times as fast as the baseline (10th to 90th percentile of rounds)")
    return figure


def _lines(results: Sequence[Result]) -> Iterator[_Line]:
    for comparison, grouped in groupby(results, key=lambda result: result.comparison):
        rows = list(grouped)
        yield _Line(f"{comparison} (1: {rows[0].row})")
        for row in rows[1:]:
            if row.ratio is not None:
                yield _Line(row.row, row)
        if missing := [row.row for row in rows if row.not_measured is not None]:
            yield _Line(f"not measured: {', '.join(missing)}", faint=True)


def _panel(axes: Axes, group: str, lines: Sequence[_Line]) -> None:
    axes.set_title(group, loc="left", fontweight="bold")
    axes.set_xscale("log")
    axes.grid(visible=True, axis="x")
    axes.grid(visible=False, axis="y")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.tick_params(labelbottom=True)
    axes.spines["left"].set_visible(False)
    axes.margins(x=0.12)  # room for the numbers beside the bars
    axes.axvline(1, color=INK, linewidth=0.9)
    axes.set_ylim(len(lines) - 0.4, -0.6)
    bars = {place: line for place, line in enumerate(lines) if line.result is not None}
    axes.set_yticks(list(bars), [line.text for line in bars.values()], fontsize=8.5)
    for place, line in enumerate(lines):
        if line.result is not None:
            _bar(axes, place, line.result)
        else:
            _across(axes, place, line)


def _bar(axes: Axes, place: int, result: Result) -> None:
    assert result.ratio is not None and result.ratio_p10 is not None and result.ratio_p90
    ratio, low, high = result.ratio, result.ratio_p10, result.ratio_p90
    colour = FASTER if ratio >= 1 else SLOWER
    axes.barh(place, ratio - 1, left=1, height=0.62, color=colour)
    axes.plot([low, high], [place, place], color=INK, linewidth=1)
    axes.annotate(
        number(ratio),
        (max(1, ratio, high), place),
        xytext=(4, 0),
        textcoords="offset points",
        va="center",
        fontsize=8.5,
    )


def _across(axes: Axes, place: int, line: _Line) -> None:
    """Words that take the whole width of the figure, on paper, so that no line runs through."""
    figure = axes.get_figure()
    assert figure is not None
    words = axes.text(
        0.02,
        place,
        line.text,
        transform=blended_transform_factory(figure.transFigure, axes.transData),
        va="center",
        fontsize=8.5,
        color=GREY if line.faint else INK,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 0.5},
    )
    words.set_in_layout(False)
