"""Heat maps of a metric over joint views: one for each model, and one for each difference."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from itertools import product
from math import ceil
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter
from numpy.typing import NDArray

from capsbench.measures import HeatMapFigureSpec, Measure
from capsbench.measures.accuracy_by_joint_view import AccuracyByJointView
from capsbench.records import Results
from capsbench.reporting.comparisons.joint_views import (
    ACCURACY_BY_JOINT_VIEW,
    DARK,
    LIGHT,
    SMALLEST_LIMIT,
    Bools,
    Floats,
    JointViews,
    insignificant,
    joint_views,
    limits_of,
    runs,
)
from capsbench.reporting.figures.plotting import new_figure
from capsbench.reporting.formatting import AXES, number

COLUMNS = 4  # panels side by side
WIDTH, HEIGHT = 2.5, 2.1  # inches, of one panel
BAR = 1.0  # inches, of the color bars on the right
MARGIN = 0.4  # inches, of the names of the axes
LINE = 30  # characters of titles
TICKS = 6  # the most on an axis
# Color-blind readers can read both maps. Marks have colors of their own, which the page does not
# replace: a map looks the same on light and on dark paper.
SEQUENTIAL, DIVERGING = "viridis", "RdBu"


def accuracy_by_joint_view(results: Results) -> Figure | None:
    """Draw the heat maps of accuracy; None if it has not been measured at joint views."""
    (spec,) = AccuracyByJointView.figures
    return heat_map_figure(results, ACCURACY_BY_JOINT_VIEW, AccuracyByJointView, spec)


def heat_map_figure(
    results: Results, name: str, measure: type[Measure[Any]], spec: HeatMapFigureSpec
) -> Figure | None:
    """Draw the mean over seeds at each joint view, by model, and the differences from the first.

    Args:
        results: The records.
        name: Name of the measure in the records.
        measure: The measure.
        spec: Specification of the figure.

    Returns:
        The figure; None if nothing has been measured.
    """
    views = joint_views(results, name, spec.metric)
    if views is None:
        return None
    measured = {
        title: cells
        for title, cells in results.by_label().items()
        if any(name in cell.measures for cell in cells)
    }
    maps = {title: views.means(cells, name) for title, cells in measured.items()}
    (first, base), *others = maps.items()
    differences = {title: values - base for title, values in others}
    marks = {
        title: insignificant(views, measured[title], measured[first], name, spec)
        for title in differences
    }
    columns = min(COLUMNS, len(maps))
    rows, kinds = ceil(len(maps) / columns), 2 if others else 1
    is_share = measure.metrics[spec.metric].unit == "share"
    factor = 100 if is_share else 1
    with new_figure((WIDTH * columns + BAR, HEIGHT * rows * kinds + MARGIN)) as figure:
        panels = figure.subplots(rows * kinds, columns, squeeze=False)
        low, high = (0.0, 1.0) if is_share else limits_of(maps)
        for axes, (title, values) in zip(panels.flat, maps.items(), strict=False):
            image = _draw(axes, views, values, title, SEQUENTIAL, (low, high))
        _color_bar(figure, panels[:rows], image, f"{spec.axis}{' (%)' * is_share}", factor)
        if others:
            # The place below the first model stays empty, so that each column is one model.
            places = panels[rows:].flat[1:]
            largest = max(SMALLEST_LIMIT, *map(abs, limits_of(differences)))
            for axes, (title, values) in zip(places, differences.items(), strict=False):
                image = _draw(axes, views, values, title, DIVERGING, (-largest, largest))
                _mark(axes, views, marks[title])
            unit = " (percentage points)" * is_share
            label = _wrapped(f"{spec.axis} minus that of {first}{unit}")
            _color_bar(figure, panels[rows:], image, label, factor)
        _label(panels, views)
    return figure


def _draw(
    axes: Axes,
    views: JointViews,
    values: Floats,
    title: str,
    colors: str,
    limits: tuple[float, float],
) -> AxesImage:
    """Draw one map, the first factor from left to right, and the outline of the familiar views."""
    left_right, bottom_top = _edges(views.first), _edges(views.second)
    image = axes.imshow(
        values.T,
        cmap=colors,
        vmin=limits[0],
        vmax=limits[1],
        origin="lower",
        extent=(left_right[0], left_right[-1], bottom_top[0], bottom_top[-1]),
        aspect="auto",
        interpolation="none",
    )
    axes.grid(visible=False)
    axes.set_title(_wrapped(title), fontsize=9.5)
    columns, rows = (runs(np.asarray(views.familiar.any(axis=axis))) for axis in (1, 0))
    for (a, b), (c, d) in product(columns, rows):
        corner = left_right[a], bottom_top[c]
        size = left_right[b] - left_right[a], bottom_top[d] - bottom_top[c]
        for color, width in ((LIGHT, 2.6), (DARK, 1.2)):
            axes.add_patch(
                Rectangle(corner, *size, fill=False, edgecolor=color, linewidth=width, zorder=3)
            )
    return image


def _mark(axes: Axes, views: JointViews, marks: Bools) -> None:
    """Draw a dot into the cells of some views."""
    rows, columns = np.nonzero(marks)
    cell = min(WIDTH / len(views.first), HEIGHT / len(views.second)) * 72 * 0.6  # points
    x, y = np.array(views.first)[rows], np.array(views.second)[columns]
    axes.scatter(x, y, s=float(np.clip(0.25 * cell, 1, 3)) ** 2, color=DARK, linewidths=0, zorder=2)


def _color_bar(
    figure: Figure, panels: NDArray[Any], image: AxesImage, label: str, factor: int
) -> None:
    """Add the color bar of the panels of one kind; its numbers are multiplied by a factor."""
    bar = figure.colorbar(image, ax=list(panels.flat), aspect=9 * len(panels), fraction=0.05)
    bar.set_label(label, fontsize=9)
    bar.ax.yaxis.set_major_formatter(FuncFormatter(lambda value, _: number(factor * value)))
    bar.ax.tick_params(labelsize=8, right=True)
    bar.outline.set_visible(False)


def _label(panels: NDArray[Any], views: JointViews) -> None:
    """Label the axes that have no panel below them, or to their left; hide unused panels."""
    drawn = np.array([[bool(axes.images) for axes in row] for row in panels])
    names = [AXES[factor].replace(" (", "\n(") for factor in views.factors]
    for (row, column), axes in np.ndenumerate(panels):
        axes.set_visible(drawn[row, column])
        axes.set_xticks(*_ticks(views.first))
        axes.set_yticks(*_ticks(views.second))
        is_lowest = not drawn[row + 1 : row + 2, column].any()
        is_leftmost = not drawn[row, max(column - 1, 0) : column].any()
        axes.tick_params(
            left=True, bottom=True, labelbottom=is_lowest, labelleft=is_leftmost, labelsize=8
        )
        if is_lowest:
            axes.set_xlabel(names[0], fontsize=9)
        if is_leftmost:
            axes.set_ylabel(names[1], fontsize=9)


def _ticks(values: Sequence[float]) -> tuple[list[float], list[str]]:
    """Return places and texts of ticks: the first value and every k-th one, if possible the last.

    >>> _ticks([-90, -60, -30, 0, 30, 60, 90])[1]
    ['−90', '−30', '30', '90']
    """
    least = ceil(len(values) / TICKS)
    steps = [k for k in range(least, 2 * least + 1) if (len(values) - 1) % k == 0] or [least]
    places = list(values[:: steps[0]])
    return places, [number(value) for value in places]


def _edges(values: Sequence[float]) -> Floats:
    """Return the edges of the cells of evenly spaced values (A,): (A + 1,)."""
    step = (values[-1] - values[0]) / (len(values) - 1) if len(values) > 1 else 1.0
    return np.asarray(values[0] + step * (np.arange(len(values) + 1) - 0.5), dtype=float)


def _wrapped(title: str) -> str:
    return textwrap.fill(title, LINE)
