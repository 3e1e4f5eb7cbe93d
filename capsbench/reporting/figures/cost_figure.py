"""Accuracy against the cost of the networks: parameters on one axis, operations on the other."""

from __future__ import annotations

from matplotlib.figure import Figure
from matplotlib.ticker import EngFormatter, LogLocator, NullFormatter

from capsbench.records import Results
from capsbench.reporting.comparisons.costs import COSTS, cost_curves
from capsbench.reporting.figures.plotting import (
    LEGEND_LINE,
    PANEL,
    draw_legend,
    draw_line,
    legend_rows,
    new_figure,
    share_axis,
)


def cost_figure(results: Results) -> Figure | None:
    """Draw `cost_curves`, one row for each accuracy and one column for each cost; None if empty."""
    costs = cost_curves(results)
    if not costs:
        return None
    panels = [curve for curves in costs.values() for curve in curves]
    names = list(dict.fromkeys(name for curve in panels for name in curve.lines))
    rows, columns = max(map(len, costs.values())), len(costs)
    legend = legend_rows(names, PANEL[0] * columns)
    with new_figure((PANEL[0] * columns, PANEL[1] * rows + LEGEND_LINE * legend)) as figure:
        grid = figure.subplots(rows, columns, sharey=True, sharex="col", squeeze=False)
        for column, (cost, curves) in enumerate(costs.items()):
            for axes, curve in zip(grid[:, column], curves, strict=False):
                for name, points in curve.lines.items():
                    draw_line(axes, points, names.index(name))
                axes.set_xscale("log")
                axes.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
                axes.xaxis.set_major_formatter(EngFormatter(sep=""))  # 500k, 2M
                axes.xaxis.set_minor_formatter(NullFormatter())
                axes.set_title(curve.title, fontsize="medium")
                share_axis(axes)
            grid[-1, column].set_xlabel(COSTS[cost])
        for axes in grid[:, 0]:
            axes.set_ylabel("accuracy")
        draw_legend(figure, names, legend)
    return figure
