"""Figures, drawn from results; none of them knows where it will be shown."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from typing import Any, Literal

from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator, MultipleLocator, PercentFormatter

from capsbench.reporting.aggregate import curve
from capsbench.reporting.results import Cell, Results
from capsbench.reporting.style import INK, PAPER, RC, line_style, series
from capsbench.reporting.formatting import AXES
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.spread import Spread

PANEL = (4.0, 2.7)  # inches: legible on a telephone, where a panel is about as wide as drawn
LEGEND_LINE = 0.22
RESOLUTION = 200  # dots per inch of the PNG
LONGEST_LEGEND_LINE = 44  # characters per panel


def accuracy_by_view(results: Results, factors: Sequence[str] | None = None) -> Figure | None:
    """Accuracy over the views of each factor: a point per seed, a line through the means.

    Args:
        results: What was measured.
        factors: Which factors, one panel each; all by default.

    Returns:
        The figure, or None while nothing has been measured.
    """
    factors = results.factors() if factors is None else factors
    if not factors:
        return None
    columns = min(2, len(factors))
    lines = ceil(len(factors) / columns)
    rows = legend_rows(list(results.by_label()), columns)
    size = (PANEL[0] * columns, PANEL[1] * lines + LEGEND_LINE * rows)
    with new_figure(size) as figure:
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for axes, factor in zip(panels.flat, factors, strict=False):
            _panel(axes, results, factor)
        for axes in panels[:, 0]:
            axes.set_ylabel("accuracy")
        for axes in panels.flat[len(factors) :]:
            axes.set_visible(False)
        draw_legend(figure, list(results.by_label()), rows)
    return figure


def training_curves(cells: Sequence[Cell], index: int) -> Figure | None:
    """Loss and validation accuracy over the steps of a training, a line per seed.

    Args:
        cells: The seeds of one model.
        index: The model's place in the list, for its colour.

    Returns:
        The figure, or None while there is no trajectory.
    """
    cells = [cell for cell in cells if cell.trajectory]
    if not cells:
        return None
    colour = series(index).colour
    with new_figure((PANEL[0], 3.6)) as figure:
        loss, accuracy = figure.subplots(2, 1, sharex=True)
        for cell in cells:
            steps = [row["step"] for row in cell.trajectory]
            column = {key: [row[key] for row in cell.trajectory] for key in cell.trajectory[0]}
            marker = "." if len(steps) < 30 else ""
            draw: dict[str, Any] = {"linewidth": 1.2, "marker": marker, "markersize": 4}
            loss.plot(steps, column["train_loss"], color=colour, **draw)
            loss.plot(steps, column["validation_loss"], color=INK, linestyle="--", **draw)
            accuracy.plot(steps, column["validation_accuracy"], color=colour, **draw)
            chosen = cell.training.selected.get("validation") if cell.training else None
            if chosen and chosen.accuracy is not None:
                accuracy.plot(
                    [chosen.step],
                    [chosen.accuracy],
                    "o",
                    markersize=8,
                    color=INK,
                    fillstyle="none",
                    clip_on=False,
                )
        loss.set_ylabel("loss")
        loss.set_ylim(bottom=0)
        accuracy.set_ylabel("validation accuracy")
        share_axis(accuracy)
        accuracy.set_xlabel("step")
        accuracy.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10], integer=True))
        accuracy.set_xlim(left=0)
        handles = [
            Line2D([], [], color=colour),
            Line2D([], [], color=INK, linestyle="--"),
            Line2D([], [], color=INK, marker="o", fillstyle="none", linestyle=""),
        ]
        names = ["training", "validation", "chosen"]
        figure.legend(handles, names, loc="outside upper left", ncols=3, handlelength=1.6)
    return figure


def legend_rows(labels: Sequence[str], columns: int) -> int:
    """How many lines a legend needs above a figure of so many panels side by side.

    >>> legend_rows(["CNN", "Dynamic routing", "EM routing"], 1)
    1
    """
    for rows in range(1, len(labels)):
        starts = range(0, len(labels), rows)  # a legend is filled column by column
        widths = [max(map(len, labels[start : start + rows])) + 5 for start in starts]
        if sum(widths) <= LONGEST_LEGEND_LINE * columns:
            return rows
    return max(1, len(labels))


def svg(figure: Figure) -> bytes:
    """The figure as SVG, the same bytes for the same figure."""
    return _saved(figure, "svg", dict.fromkeys(("Creator", "Date", "Format", "Type")))


def png(figure: Figure) -> bytes:
    """The figure as PNG, the same bytes for the same figure."""
    return _saved(figure, "png", {"Software": None})


def _saved(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    stream = io.BytesIO()
    with rc_context(RC):
        figure.savefig(stream, format=kind, dpi=RESOLUTION, metadata=metadata)
    return stream.getvalue()


@contextmanager
def new_figure(size: tuple[float, float]) -> Iterator[Figure]:
    """An empty figure of so many inches across and up, in the house's style while it is drawn."""
    with rc_context(RC):
        yield Figure(figsize=size, layout="constrained")


def _panel(axes: Axes, results: Results, factor: str) -> None:
    values = [0.0]
    for index, cells in enumerate(results.by_label().values()):
        points = curve(cells, factor)
        values = [point.value for point in points] or values
        _curve(axes, cells, factor, index)
    low, high = min(values), max(values)
    margin = 0.02 * (high - low) or 0.5
    axes.set_xlim(low - margin, high + margin)
    share_axis(axes)
    axes.set_xlabel(AXES[factor])
    if factor == "rotation" and high - low >= 180:
        axes.xaxis.set_major_locator(MultipleLocator(90 if high - low > 270 else 45))
    else:
        axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 4, 5, 10]))
    if spread := results.benchmark.views.spread(factor):
        _familiar(axes, factor, spread)
    if data := results.data():
        chance = 1 / data.num_classes
        axes.axhline(chance, color=INK, alpha=0.6, linewidth=0.9, linestyle=(0, (1, 2)))
        below = chance > 0.08  # where there is room for the word, and seldom a curve
        place = ("axes fraction", "data")
        _word(axes, "chance", (1, chance), place, ha="right", va="top" if below else "bottom")


def share_axis(axes: Axes) -> None:
    """Let the vertical axis count shares, 0 to 100 %."""
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_locator(MultipleLocator(0.25))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def _curve(axes: Axes, cells: Sequence[Cell], factor: str, index: int) -> None:
    look = series(index)
    points = curve(cells, factor)
    if not points:
        return
    places = [point.value for point in points]
    means = [point.accuracy.mean for point in points]
    axes.plot(places, means, color=look.colour, linewidth=1.6, linestyle=line_style(index))
    bands = [(point.value, point.accuracy.interval) for point in points]
    known = [(value, *limits) for value, limits in bands if limits]
    if known:
        where, lower, upper = zip(*known, strict=True)
        axes.fill_between(where, lower, upper, color=look.colour, alpha=0.16, linewidth=0)
    seeds = [(p.value, value) for p in points for value in p.accuracy.values.values()]
    across, up = zip(*seeds, strict=True)
    axes.scatter(
        across,
        up,
        s=13,
        color=look.colour,
        marker=look.marker,
        edgecolors=PAPER,
        linewidths=0.4,
        zorder=3,
    )


def _familiar(axes: Axes, factor: str, spread: Spread) -> None:
    """Shade the familiar views; an angle also wherever a whole turn brings it back into view."""
    period = FACTORS[factor].period
    turns = (0.0,) if period is None else (-period, 0.0, period)
    left, right = axes.get_xlim()
    shaded = []
    for start, end in spread.pieces:
        for turn in turns:
            low, high = max(start + turn, left), min(end + turn, right)
            if low <= high:
                shade = 0.08 if low < high else 0.35
                axes.axvspan(low, high, color=INK, alpha=shade, linewidth=0.8)
                shaded.append((turn != 0, (low + high) / 2))
    if shaded:
        _, centre = min(shaded, key=lambda found: (found[0], abs(found[1])))
        place = ("data", "axes fraction")
        _word(axes, "familiar", (centre, 1.01), place, ha="center", va="bottom")


def _word(
    axes: Axes,
    text: str,
    xy: tuple[float, float],
    coordinates: tuple[str, str],
    *,
    ha: Literal["center", "right"],
    va: Literal["top", "bottom"],
) -> None:
    axes.annotate(text, xy, xycoords=coordinates, ha=ha, va=va, fontsize=8.5)


def draw_legend(figure: Figure, labels: Sequence[str], rows: int) -> None:
    """The models' looks above a figure, in so many lines."""
    handles = [
        Line2D(
            [],
            [],
            color=series(index).colour,
            marker=series(index).marker,
            markersize=5,
            linestyle=line_style(index),
        )
        for index in range(len(labels))
    ]
    columns = ceil(len(labels) / rows)
    # The names are put in afterwards: a legend would leave out one that begins with "_".
    legend = figure.legend(handles, ["-"] * len(labels), loc="outside upper left", ncols=columns)
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(label)
