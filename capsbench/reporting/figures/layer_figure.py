"""Figure that goes through the layers of each model, one column per model."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capsbench.measures import LayerFigureSpec, LineSpec
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import SeedValues
from capsbench.reporting.comparisons.layer_lines import (
    LAST,
    UNTRAINED,
    Drawn,
    drawn_quantities,
    layer_values,
    lines_of,
)
from capsbench.reporting.figures.plotting import legend_rows, new_figure
from capsbench.reporting.figures.style import INK, PAPER, series
from capsbench.reporting.formatting import FACTORS

COLUMN, ROW = 2.5, 1.75  # inches, of one panel
NAMES = 1.15  # inches, of the names of layers below
DASHES = (0, (4, 2))
DOTS = (0, (1, 1.5))  # of networks before training


def layer_figure(results: Results, name: str, spec: LayerFigureSpec) -> Figure | None:
    """Draw every seed of every layer, with a line through the means and 95 % t intervals.

    A dotted line in the same color has the networks before training, where they were measured.

    Args:
        results: The records.
        name: Name of the measure in the records.
        spec: Specification of the figure.

    Returns:
        The figure; None if nothing of it has been measured.
    """
    models = results.by_label()
    factors = list(
        dict.fromkeys(quantity.factor for quantity in drawn_quantities(results.cells, name, spec))
    )
    if not factors:
        return None
    size = (COLUMN * len(models) + 0.5, ROW * len(factors) + NAMES + 0.5)
    with new_figure(size) as figure:
        panels = figure.subplots(len(factors), len(models), sharey="row", squeeze=False)
        drawn: set[Drawn] = set()
        for row, factor in zip(panels, factors, strict=True):
            row[0].set_ylabel(spec.axis if factor is None else f"{FACTORS[factor]}:\n{spec.axis}")
            for index, (axes, cells) in enumerate(zip(row, models.values(), strict=True)):
                drawn |= _draw_panel(axes, name, spec, cells, factor, index)
        for axes, label in zip(panels[0], models, strict=True):
            axes.set_title(label.replace(" (", "\n("), fontsize=9.5)
        for axes in panels[:-1].flat:
            axes.tick_params(labelbottom=False)
        lines = [each for each in lines_of(spec) if each in drawn]
        names = [
            UNTRAINED.format(name=line.name) if dotted else line.name for line, dotted in lines
        ]
        rows = legend_rows(names, size[0])
        handles = [Line2D([], [], **_line_style(spec, *each, INK)) for each in lines]
        figure.legend(handles, names, loc="outside upper left", ncols=ceil(len(names) / rows))
    return figure


def _draw_panel(
    axes: Axes,
    name: str,
    spec: LayerFigureSpec,
    cells: Sequence[CellResult],
    factor: str | None,
    index: int,
) -> set[Drawn]:
    """Draw one model's layers and return the lines of which it has values."""
    drawn_here = drawn_quantities(cells, name, spec)
    # Rows share their layers, also if a factor has no value of some.
    layers = list(dict.fromkeys(str(quantity.layer) for quantity in drawn_here))
    drawn = set()
    for height in spec.references:
        axes.axhline(height, color=INK, alpha=0.5, linewidth=0.8, linestyle=(0, (1, 2)))
    for line, dotted in lines_of(spec):
        points = [
            (layers.index(str(quantity.layer)), seed_values)
            for quantity in drawn_here
            if (quantity.metric, quantity.condition) == (line.metric, line.condition)
            and quantity.factor == factor
            and (seed_values := layer_values(cells, name, quantity, dotted)) is not None
        ]
        if points:
            drawn.add((line, dotted))
            color = INK if line.control else series(index).color
            last = layers.index(LAST) if LAST in layers else len(layers)
            style = _line_style(spec, line, dotted, color)
            _draw_line(axes, spec, sorted(points, key=_x), last, style)
    if not drawn:
        axes.annotate("not measured", (0.5, 0.5), xycoords="axes fraction", ha="center", alpha=0.7)
    axes.set_xticks(range(len(layers)), layers, rotation=60, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlim(-0.6, max(len(layers), 1) - 0.4)
    return drawn


def _draw_line(
    axes: Axes,
    spec: LayerFigureSpec,
    points: Sequence[tuple[int, SeedValues]],
    last: int,
    style: dict[str, Any],
) -> None:
    """Draw the means up to the last layer of the path, every seed, and the intervals."""
    path = [(x, seed_values) for x, seed_values in points if x <= last]
    heights = [spec.height(seed_values.mean) for _, seed_values in path]
    axes.plot([x for x, _ in path], heights, **(style | {"marker": ""}))
    seeds = [(at, spec.height(value)) for at, seed_values in points for value in seed_values.shown]
    axes.plot(*zip(*seeds, strict=True), **(style | {"linestyle": ""}), zorder=3)
    for x, seed_values in points:
        if limits := seed_values.interval:
            ends = [spec.height(limit) for limit in limits]
            axes.plot([x, x], ends, color=style["color"], linewidth=1, alpha=0.6)


def _x(point: tuple[int, SeedValues]) -> int:
    return point[0]


def _line_style(spec: LayerFigureSpec, line: LineSpec, dotted: bool, color: str) -> dict[str, Any]:
    """Return matplotlib's settings: filled marks for the first line, dashes for controls."""
    if dotted:
        return {
            "color": color,
            "linestyle": DOTS,
            "linewidth": 1.2 if line is spec.lines[0] else 0.7,
            "marker": "x",
            "markersize": 3.2,
            "markeredgewidth": 0.8,
        }
    if line.control:
        return {
            "color": color,
            "linestyle": DASHES,
            "linewidth": 0.9,
            "marker": "_",
            "markersize": 6,
        }
    first = line is spec.lines[0]
    return {
        "color": color,
        "linestyle": "-",
        "linewidth": 1.4 if first else 0.7,
        "marker": "o" if first else "s",
        "markersize": 4,
        "markeredgecolor": PAPER if first else color,
        "markeredgewidth": 0.4 if first else 0.9,
        "markerfacecolor": color if first else PAPER,
    }
