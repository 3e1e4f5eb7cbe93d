"""Figure of a metric against a numerical condition, one line per model."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capsbench.measures import ConditionFigureSpec, Measure
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import quantities
from capsbench.reporting.comparisons.conditions import (
    PanelKey,
    condition_curve,
    panel_keys,
    panel_title,
)
from capsbench.reporting.figures.plotting import (
    LEGEND_LINE,
    PANEL,
    draw_legend,
    legend_rows,
    new_figure,
    share_axis,
)
from capsbench.reporting.figures.style import INK, series
from capsbench.reporting.formatting import number

DASHES: tuple[Any, ...] = ((0, (5, 2)), (0, (1, 2)), (0, (5, 2, 1, 2)))  # of further lines


def condition_figure(
    results: Results, name: str, measure: type[Measure[Any]], spec: ConditionFigureSpec
) -> Figure | None:
    """Draw a metric against a condition, such as accuracy against the size of attacks.

    Args:
        results: The records.
        name: Name of the measure in the records.
        measure: The measure.
        spec: Specification of the figure.

    Returns:
        The figure; None if nothing has been measured.
    """
    groups = results.by_label()
    keys = panel_keys(results, name, spec)
    if not keys:
        return None
    columns = min(2, len(keys))
    lines = ceil(len(keys) / columns)
    rows = legend_rows(list(groups), PANEL[0] * columns)
    further = [
        (line, dashes)
        for line, dashes in zip(spec.further_lines, DASHES, strict=False)
        if quantities(results.cells, name, metric=line.metric)
    ]
    size = (PANEL[0] * columns, (PANEL[1] + 0.2) * lines + LEGEND_LINE * (rows + 1))
    with new_figure(size) as figure:
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for axes, key in zip(panels.flat, keys, strict=False):
            _draw_panel(axes, list(groups.values()), name, spec, key)
            axes.set_title(panel_title(spec, key), fontsize=9.5)
            if measure.metrics[spec.metric].unit == "share":
                share_axis(axes)
        for axes in panels[:, 0]:
            axes.set_ylabel(spec.axis)
        for axes in panels.flat[len(keys) :]:
            axes.set_visible(False)
        draw_legend(figure, list(groups), rows)
        if further:
            styles = ["-", *(dashes for _, dashes in further)]
            handles = [Line2D([], [], color=INK, linestyle=style) for style in styles]
            names = [spec.metric.replace("_", " "), *(line.name for line, _ in further)]
            figure.legend(handles, names, loc="outside lower left", ncols=len(handles))
    return figure


def _draw_panel(
    axes: Axes,
    groups: Sequence[Sequence[CellResult]],
    name: str,
    spec: ConditionFigureSpec,
    key: PanelKey,
) -> None:
    """Draw all models; the main metric with a mark for each seed, further ones with dashes."""
    main = [condition_curve(cells, name, spec, key, spec.metric) for cells in groups]
    further = [
        (index, dashes, condition_curve(cells, name, spec, key, line.metric))
        for line, dashes in zip(spec.further_lines, DASHES, strict=False)
        for index, cells in enumerate(groups)
    ]
    curves = [*main, *(points for *_, points in further)]
    # At even steps: values that grow by factors would crowd at 0.
    values = sorted({x for points in curves for x, _ in points})
    for index, points in enumerate(main):
        color, marker = series(index).color, series(index).marker
        x_values = [values.index(x) for x, _ in points]
        axes.plot(
            x_values, [seed_values.mean for _, seed_values in points], color=color, linewidth=1.5
        )
        for x, (_, seed_values) in zip(x_values, points, strict=True):
            seeds = seed_values.shown
            axes.plot([x] * len(seeds), seeds, marker, color=color, markersize=3.6)
    for index, dashes, points in further:
        axes.plot(
            [values.index(x) for x, _ in points],
            [seed_values.mean for _, seed_values in points],
            color=series(index).color,
            linestyle=dashes,
            linewidth=1,
        )
    axes.set_xticks(range(len(values)), [number(value) for value in values])
    axes.set_xlabel(spec.condition_axis)
