"""Figures of accuracy against a varied value, or against the size of one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import ceil
from textwrap import fill

from matplotlib.figure import Figure

from capsbench.records import Results
from capsbench.reporting.comparisons.scaling import (
    AccuracyCurves,
    size_arguments,
    size_curves,
    varied_curves,
)
from capsbench.reporting.figures.plotting import (
    LEGEND_LINE,
    PANEL,
    draw_legend,
    draw_line,
    legend_rows,
    new_figure,
    share_axis,
)
from capsbench.reporting.formatting import number
from capsbench.schema import parts

TICK_CHARACTERS = 12  # of a line of a case's name
DODGE = 0.12  # from one model to the next, of the distance between cases


def varied_figure(results: Results) -> Figure | None:
    """Draw `varied_curves`; None if there are none."""
    vary = results.benchmark.vary
    curves = varied_curves(results)
    if vary is None or not curves:
        return None
    ticks = {vary.position(point): _tick(point) for point in vary.points}
    lines = vary.cases is None
    return _draw(curves, vary.name, logarithmic=vary.logarithmic, ticks=ticks, connected=lines)


def _tick(point: parts.Point) -> str:
    return fill(point, TICK_CHARACTERS) if isinstance(point, str) else number(point)


def size_figure(results: Results) -> Figure | None:
    """Draw `size_curves` into one panel; None if there are none."""
    curves, sizes = size_curves(results), size_arguments(results)
    if not curves:
        return None
    with new_figure((PANEL[0] * 1.4, PANEL[1] * 1.3)) as figure:
        axes = figure.subplots()
        for index, curve in enumerate(curves):
            draw_line(axes, curve.lines[""], index, curve.title)
        numbers = sorted(next(iter(sizes.values())))
        axes.set_xscale("log", base=2)
        axes.set_xticks(numbers, [number(x) for x in numbers])
        axes.minorticks_off()
        axes.set_xlabel(" (and ".join(sizes) + ")" * (len(sizes) - 1))
        axes.set_ylabel("accuracy")
        share_axis(axes)
        axes.legend()
    return figure


def _draw(
    curves: Sequence[AccuracyCurves],
    axis: str,
    *,
    logarithmic: bool,
    ticks: Mapping[float, str] | None = None,
    connected: bool = True,
) -> Figure:
    """Draw one panel per accuracy; points of cases are side by side, without lines."""
    names = list(curves[0].lines)
    columns = min(2, len(curves))
    rows, legend = ceil(len(curves) / columns), legend_rows(names, PANEL[0] * columns)
    with new_figure((PANEL[0] * columns, PANEL[1] * rows + LEGEND_LINE * legend)) as figure:
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes, panel in zip(grid.flat, curves, strict=False):
            for index, points in enumerate(panel.lines.values()):
                shift = 0.0 if connected else DODGE * (index - (len(panel.lines) - 1) / 2)
                places = [(x + shift, seed_values) for x, seed_values in points]
                draw_line(axes, places, index, connected=connected)
            if logarithmic:
                axes.set_xscale("log")
            if ticks is not None:
                axes.set_xticks(list(ticks), list(ticks.values()))
                axes.minorticks_off()
            if not connected:
                axes.tick_params(axis="x", labelsize="x-small")
            axes.set_title(panel.title, fontsize="medium")
            axes.set_xlabel(axis)
            share_axis(axes)
        for axes in grid[:, 0]:
            axes.set_ylabel("accuracy")
        for axes in grid.flat[len(curves) :]:
            axes.set_visible(False)
        draw_legend(figure, names, legend)
    return figure
