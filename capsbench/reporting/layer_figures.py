"""Figures that go through a network layer by layer, a column for each model."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capsbench.reporting.aggregate import measured
from capsbench.reporting.figures import legend_rows, new_figure
from capsbench.reporting.layer_terms import FACTOR, LayerFigure, Line
from capsbench.reporting.results import Cell, Results
from capsbench.reporting.style import INK, PAPER, series
from capsbench.reporting.formatting import FACTORS

COLUMN, ROW = 2.5, 1.75  # inches, of one panel
NAMES = 1.15  # inches, of layers' names below
LAST = "probabilities"  # what is recorded after it lies beside the way from image to answer
DASHES = (0, (4, 2))


def layer_figure(results: Results, asked: LayerFigure) -> Figure | None:
    """Draw every seed of every layer, with a line through the means and 95 % t intervals.

    Args:
        results: What was measured.
        asked: What is drawn.

    Returns:
        The figure, or None while nothing of it has been measured.
    """
    models = results.by_label()
    found = [asked.factors(cells) for cells in models.values()]
    factors = list(dict.fromkeys(factor for one in found for factor in one))
    if not factors:
        return None
    size = (COLUMN * len(models) + 0.5, ROW * len(factors) + NAMES + 0.5)
    with new_figure(size) as figure:
        panels = figure.subplots(len(factors), len(models), sharey="row", squeeze=False)
        drawn: set[Line] = set()
        for row, factor in zip(panels, factors, strict=True):
            row[0].set_ylabel(f"{FACTORS[factor]}:\n{asked.axis}" if factor else asked.axis)
            for index, (axes, cells) in enumerate(zip(row, models.values(), strict=True)):
                drawn |= _panel(axes, asked, cells, factor, index)
        for axes, label in zip(panels[0], models, strict=True):
            axes.set_title(label.replace(" (", "\n("), fontsize=9.5)
        for axes in panels[:-1].flat:
            axes.tick_params(labelbottom=False)
        shown = [line for line in asked.lines if line in drawn]
        rows = legend_rows([line.name for line in shown], len(models))
        handles = [Line2D([], [], **_look(asked, line, INK)) for line in shown]
        names = [line.name for line in shown]
        figure.legend(handles, names, loc="outside upper left", ncols=ceil(len(names) / rows))
    return figure


def _panel(
    axes: Axes, asked: LayerFigure, cells: Sequence[Cell], factor: str, index: int
) -> set[Line]:
    """One model's layers; returns the lines that it has values of."""
    # Columns share their layers, also where a factor has no value of some.
    layers = list(
        dict.fromkeys(layer for one in asked.factors(cells) for layer in asked.layers(cells, one))
    )
    drawn = set()
    for height in asked.references:
        axes.axhline(height, color=INK, alpha=0.5, linewidth=0.8, linestyle=(0, (1, 2)))
    for line in asked.lines:
        stem = line.key.replace(FACTOR, factor)
        over = [measured(cells, f"{stem}@{layer}", measure=asked.measure) for layer in layers]
        known = [(place, each) for place, each in enumerate(over) if each]
        if not known:
            continue
        drawn.add(line)
        look = _look(asked, line, INK if line.control else series(index).colour)
        end = layers.index(LAST) if LAST in layers else len(layers)
        way = [(place, asked.drawn_at(each.mean)) for place, each in known if place <= end]
        axes.plot(*zip(*way, strict=True), **(look | {"marker": ""}))
        seeds = [
            (place, asked.drawn_at(value))
            for place, each in known
            for value in each.values.values()
        ]
        axes.plot(*zip(*seeds, strict=True), **(look | {"linestyle": ""}), zorder=3)
        for place, each in known:
            if limits := each.interval:
                ends = [asked.drawn_at(limit) for limit in limits]
                axes.plot([place, place], ends, color=look["color"], linewidth=1, alpha=0.6)
    if not drawn:
        axes.annotate("not measured", (0.5, 0.5), xycoords="axes fraction", ha="center", alpha=0.7)
    axes.set_xticks(range(len(layers)), layers, rotation=60, ha="right", rotation_mode="anchor")
    axes.tick_params(axis="x", labelsize=8)
    axes.set_xlim(-0.6, max(len(layers), 1) - 0.4)
    return drawn


def _look(asked: LayerFigure, line: Line, colour: str) -> dict[str, Any]:
    """The first quantity is filled, others are open; controls are dashes without a model's look."""
    if line.control:
        return {
            "color": colour,
            "linestyle": DASHES,
            "linewidth": 0.9,
            "marker": "_",
            "markersize": 6,
        }
    first = line is asked.lines[0]
    return {
        "color": colour,
        "linestyle": "-",
        "linewidth": 1.4 if first else 0.7,
        "marker": "o" if first else "s",
        "markersize": 4,
        "markeredgecolor": PAPER if first else colour,
        "markeredgewidth": 0.4 if first else 0.9,
        "markerfacecolor": colour if first else PAPER,
    }
