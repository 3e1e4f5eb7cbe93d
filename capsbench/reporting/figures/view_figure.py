"""Figure of a metric against the views of each factor, one line per model."""

from __future__ import annotations

from collections.abc import Sequence
from math import ceil
from typing import Any, Literal

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, MultipleLocator

from capsbench.measures import Measure, ViewFigureSpec
from capsbench.measures.accuracy_by_view import AccuracyByView
from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    CurvePoint,
    curve,
    view_factors,
)
from capsbench.reporting.figures.plotting import (
    LEGEND_LINE,
    PANEL,
    annotate,
    draw_legend,
    legend_rows,
    new_figure,
    share_axis,
)
from capsbench.reporting.figures.style import INK, PAPER, line_style, series
from capsbench.reporting.formatting import AXES
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.spread import Spread

LOW_CHANCE = 0.08  # below, the word 'chance' is written above its line, where there is room


def accuracy_by_view(results: Results, factors: Sequence[str] | None = None) -> Figure | None:
    """Draw accuracy over the views of each factor.

    Args:
        results: The records.
        factors: The factors, one panel each; all if left out.

    Returns:
        The figure; None if nothing has been measured.
    """
    (spec,) = AccuracyByView.figures
    return view_figure(results, ACCURACY_BY_VIEW, AccuracyByView, spec, factors)


def view_figure(
    results: Results,
    name: str,
    measure: type[Measure[Any]],
    spec: ViewFigureSpec,
    factors: Sequence[str] | None = None,
) -> Figure | None:
    """Draw a metric over the views of each factor: a mark per seed, a line through the means.

    Args:
        results: The records.
        name: Name of the measure in the records.
        measure: The measure.
        spec: Specification of the figure.
        factors: The factors, one panel each; all if left out.

    Returns:
        The figure; None if nothing has been measured.
    """
    if factors is None:
        factors = view_factors(results, measure=name, metric=spec.metric)
    if not factors:
        return None
    columns = min(2, len(factors))
    lines = ceil(len(factors) / columns)
    groups = results.by_label()
    rows = legend_rows(list(groups), PANEL[0] * columns)
    is_share = measure.metrics[spec.metric].unit == "share"
    size = (PANEL[0] * columns, PANEL[1] * lines + LEGEND_LINE * rows)
    with new_figure(size) as figure:
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for axes, factor in zip(panels.flat, factors, strict=False):
            curves = [
                curve(cells, factor, measure=name, metric=spec.metric) for cells in groups.values()
            ]
            _draw_panel(axes, curves, factor, results.benchmark.views.spread(factor))
            if is_share:
                share_axis(axes)
            if spec.metric == "accuracy":
                _draw_chance(axes, results)
        for axes in panels[:, 0]:
            axes.set_ylabel(spec.axis)
        for axes in panels.flat[len(factors) :]:
            axes.set_visible(False)
        draw_legend(figure, list(groups), rows)
    return figure


def _draw_panel(
    axes: Axes, curves: Sequence[Sequence[CurvePoint]], factor: str, familiar: Spread | None
) -> None:
    """Draw the curves of one factor, with its familiar views."""
    views = [0.0]
    for index, points in enumerate(curves):
        views = [point.view for point in points] or views
        _draw_curve(axes, points, index)
    low, high = min(views), max(views)
    margin = 0.02 * (high - low) or 0.5
    axes.set_xlim(low - margin, high + margin)
    axes.set_xlabel(AXES[factor])
    if factor == "rotation" and high - low >= 180:
        axes.xaxis.set_major_locator(MultipleLocator(90 if high - low > 270 else 45))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 4, 5, 10]))
    if familiar:
        _shade_familiar(axes, factor, familiar)


def _draw_chance(axes: Axes, results: Results) -> None:
    """Draw the accuracy of guessing."""
    data = results.data()
    if data is None:
        return
    chance = 1 / data.num_classes
    axes.axhline(chance, color=INK, alpha=0.6, linewidth=0.9, linestyle=(0, (1, 2)))
    va: Literal["top", "bottom"] = "top" if chance > LOW_CHANCE else "bottom"
    annotate(axes, "chance", (1, chance), ("axes fraction", "data"), ha="right", va=va)


def _draw_curve(axes: Axes, points: Sequence[CurvePoint], index: int) -> None:
    """Draw a line through the means, a band of 95 % t intervals, and a mark for each seed."""
    if not points:
        return
    color, marker = series(index).color, series(index).marker
    means = [point.seed_values.mean for point in points]
    views = [point.view for point in points]
    axes.plot(views, means, color=color, linewidth=1.6, linestyle=line_style(index))
    bands = [(point.view, *limits) for point in points if (limits := point.seed_values.interval)]
    if bands:
        at, lower, upper = zip(*bands, strict=True)
        axes.fill_between(at, lower, upper, color=color, alpha=0.16, linewidth=0)
    seeds = [(point.view, value) for point in points for value in point.seed_values.shown]
    x, y = zip(*seeds, strict=True)
    axes.scatter(x, y, s=13, color=color, marker=marker, edgecolors=PAPER, linewidths=0.4, zorder=3)


def _shade_familiar(axes: Axes, factor: str, spread: Spread) -> None:
    """Shade the familiar views; an angle also 360 degrees away, if that is in the panel."""
    period = FACTORS[factor].period
    offsets = (0.0,) if period is None else (-period, 0.0, period)
    left, right = axes.get_xlim()
    shaded = []
    for start, end in spread.segments:
        for offset in offsets:
            low, high = max(start + offset, left), min(end + offset, right)
            if low <= high:
                alpha = 0.08 if low < high else 0.35
                axes.axvspan(low, high, color=INK, alpha=alpha, linewidth=0.8)
                shaded.append((offset != 0, (low + high) / 2))
    if shaded:
        _, center = min(shaded, key=lambda segment: (segment[0], abs(segment[1])))
        coordinates = ("data", "axes fraction")
        annotate(axes, "familiar", (center, 1.01), coordinates, ha="center", va="bottom")
