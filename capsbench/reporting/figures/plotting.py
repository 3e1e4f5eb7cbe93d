"""Parts that all figures share: size, legend, axes of shares, and the bytes of a saved figure."""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from math import ceil
from textwrap import fill
from typing import Literal

import numpy as np
from matplotlib import rc_context, rcdefaults, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MultipleLocator, PercentFormatter

from capsbench.reporting.comparisons.aggregate import SeedValues
from capsbench.reporting.figures.style import RC, line_style, series

PANEL = (4.0, 2.7)  # inches: legible on a telephone, where a panel is about as wide as drawn
LEGEND_LINE = 0.22  # inches
RESOLUTION = 200  # dots per inch of the PNG
LEGEND_CHARACTERS = 11  # characters of a legend per inch


@contextmanager
def new_figure(size: tuple[float, float]) -> Iterator[Figure]:
    """Yield an empty figure in the common style; draw it inside the context.

    Its parts are placed at the end of the context, once: placed again by each save, they would move
    a little, and a file would depend on those that were saved before.

    Args:
        size: Width and height in inches.
    """
    with _style():
        figure = Figure(figsize=size, layout="constrained")
        yield figure
        figure.draw_without_rendering()
        figure.set_layout_engine("none")


@contextmanager
def _style() -> Iterator[None]:
    """Draw in the common style alone: a file of the user's settings changes no pixel."""
    with rc_context():
        rcdefaults()
        rcParams.update(RC)
        yield


def svg(figure: Figure) -> bytes:
    """Return a figure as SVG, the same bytes for the same figure."""
    return _saved(figure, "svg", dict.fromkeys(("Creator", "Date", "Format", "Type")))


def png(figure: Figure) -> bytes:
    """Return a figure as PNG, the same bytes for the same figure."""
    return _saved(figure, "png", {"Software": None})


def pdf(figure: Figure) -> bytes:
    """Return a figure as PDF, the same bytes for the same figure."""
    return _saved(figure, "pdf", dict.fromkeys(("Creator", "Producer", "CreationDate")))


def _saved(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    stream = io.BytesIO()
    with _style():
        figure.savefig(stream, format=kind, dpi=RESOLUTION, metadata=metadata)
    return stream.getvalue()


SAVE = {"svg": svg, "pdf": pdf, "png": png}  # by format


def legend_rows(labels: Sequence[str], width: float) -> int:
    """Return the number of lines of a legend above a figure of a width in inches.

    >>> labels = ["CNN", "Dynamic routing", "EM routing"]
    >>> legend_rows(labels, 4), legend_rows(labels, 2)
    (1, 3)
    """
    for rows in range(1, len(labels)):
        # matplotlib fills columns of equal length, the first ones longer by one if need be.
        columns = np.array_split(labels, ceil(len(labels) / rows))
        if sum(max(map(len, column)) + 5 for column in columns) <= LEGEND_CHARACTERS * width:
            return rows
    return max(1, len(labels))


def draw_legend(figure: Figure, labels: Sequence[str], rows: int) -> None:
    """Draw color, marker and line of each model above a figure, in a number of lines."""
    handles = [
        Line2D(
            [],
            [],
            color=series(index).color,
            marker=series(index).marker,
            markersize=5,
            linestyle=line_style(index),
        )
        for index in range(len(labels))
    ]
    columns = ceil(len(labels) / rows)
    # The names are set afterwards: a legend would leave out a name that begins with "_".
    legend = figure.legend(handles, ["-"] * len(labels), loc="outside upper left", ncols=columns)
    length = int(LEGEND_CHARACTERS * figure.get_figwidth()) - 5  # of the longest that fits
    for text, label in zip(legend.get_texts(), labels, strict=True):
        text.set_text(fill(label, length) if columns == 1 else label)


def share_axis(axes: Axes) -> None:
    """Let the vertical axis show shares, 0 to 100 %."""
    axes.set_ylim(-0.02, 1.02)
    axes.yaxis.set_major_locator(MultipleLocator(0.25))
    axes.yaxis.set_major_formatter(PercentFormatter(1, decimals=0))


def draw_line(
    axes: Axes,
    points: Sequence[tuple[float, SeedValues]],
    index: int,
    label: str | None = None,
    *,
    connected: bool = True,
) -> None:
    """Draw a line through means, with a mark for each seed and an upright line per interval.

    Args:
        axes: The panel.
        points: Place on the horizontal axis, and the numbers there.
        index: Place of the line's model in the list of models, for its color.
        label: Name in the legend of the panel.
        connected: False to leave out the line, between points without an order.
    """
    color, marker = series(index).color, series(index).marker
    x_values, means = [x for x, _ in points], [seed_values.mean for _, seed_values in points]
    style = line_style(index) if connected else ""
    axes.plot(x_values, means, color=color, linestyle=style, label=label)
    for x, seed_values in points:
        values = seed_values.shown
        axes.plot([x] * len(values), values, marker, color=color, markersize=4)
        if limits := seed_values.interval:
            axes.plot([x, x], limits, color=color, linewidth=1, alpha=0.6)


def annotate(
    axes: Axes,
    text: str,
    xy: tuple[float, float],
    coordinates: tuple[str, str],
    *,
    ha: Literal["center", "right"],
    va: Literal["top", "bottom"],
) -> None:
    """Write a word into a panel, at a place in two coordinate systems of matplotlib."""
    axes.annotate(text, xy, xycoords=coordinates, ha=ha, va=va, fontsize=8.5)
