"""Colors, markers and matplotlib settings: one style for figures, tables and the page.

The colors follow Okabe and Ito (2008). Color-blind readers can tell any four with one line style
apart; from the fifth series on lines are dashed, and each series has its own marker. Ink and paper
are two exact colors, which the page replaces by its own, so that a figure follows the reader's
light or dark setting.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

INK = "#1d2126"
PAPER = "#fefefe"
LineStyle = Literal["-", "--", ":"]
LINE_STYLES: tuple[LineStyle, ...] = ("-", "--", ":")
SERIES_PER_STYLE = 4


class Series(NamedTuple):
    """Color and marker of a model.

    Attributes:
        color: Color on light paper, with a contrast of at least 3:1.
        dark: Color on dark paper, with the same contrast.
        marker: Marker of matplotlib.
        path: The same marker as an SVG path within -5..5.
        shape: The same for Vega: its name, or an SVG path within -1..1.
    """

    color: str
    dark: str
    marker: str
    path: str
    shape: str


SERIES = (
    Series("#0072b2", "#56b4e9", "o", "M-4,0a4,4 0 1,0 8,0a4,4 0 1,0 -8,0z", "circle"),
    Series("#d55e00", "#f0884a", "s", "M-3.6,-3.6h7.2v7.2h-7.2z", "square"),
    Series("#00835f", "#2bc79a", "^", "M0,-4.4L4.6,4H-4.6z", "triangle-up"),
    Series("#a8508a", "#e08fc2", "D", "M0,-5L5,0L0,5L-5,0z", "diamond"),
    Series("#8a6d00", "#e3c13f", "v", "M0,4.4L4.6,-4H-4.6z", "triangle-down"),
    Series(
        "#5b5f97",
        "#a9aee8",
        "P",
        "M-1.6,-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",
        "cross",
    ),
    Series(
        "#b0143c",
        "#ff8aa5",
        "X",
        "M-4.4,-2L-2,-4.4L0,-2.4L2,-4.4L4.4,-2L2.4,0L4.4,2L2,4.4L0,2.4L-2,4.4L-4.4,2L-2.4,0z",
        "M-.9,-.4L-.4,-.9L0,-.5L.4,-.9L.9,-.4L.5,0L.9,.4L.4,.9L0,.5L-.4,.9L-.9,.4L-.5,0Z",
    ),
    Series(
        "#4a4a4a",
        "#bdbdbd",
        "*",
        "M0,-5.4L1.4,-1.9L5.1,-1.7L2.2,0.7L3.2,4.4L0,2.3L-3.2,4.4L-2.2,0.7L-5.1,-1.7L-1.4,-1.9z",
        "M0,-1L.3,-.4L1,-.3L.4,.2L.6,.9L0,.5L-.6,.9L-.4,.2L-1,-.3L-.3,-.4Z",
    ),
)

RC: dict[Any, Any] = {
    "axes.axisbelow": True,
    "axes.edgecolor": INK,
    "axes.facecolor": "none",
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.unicode_minus": True,
    "figure.facecolor": PAPER,
    "figure.dpi": 100,
    "font.family": "DejaVu Sans",  # comes with matplotlib: the same figure on every machine
    "font.size": 9.5,
    "grid.alpha": 0.14,
    "grid.color": INK,
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "savefig.facecolor": PAPER,
    "pdf.fonttype": 42,  # TrueType: journals refuse PDFs with fonts of type 3
    "svg.fonttype": "none",  # text stays text: legible, searchable, in the page's own font
    "svg.hashsalt": "capsbench",  # the same figure gives the same bytes
    "text.color": INK,
    "text.parse_math": False,  # a label may hold a dollar sign
    "xtick.color": INK,
    "xtick.major.width": 0.6,
    "ytick.color": INK,
    "ytick.left": False,
}


def series(index: int) -> Series:
    """Return color and marker of a model by its place in the list; they repeat after the eighth."""
    return SERIES[index % len(SERIES)]


def css_color(index: int) -> str:
    """Return the page's variable for the color of a model by its place in the list."""
    return f"var(--series-{index % len(SERIES)})"


def line_style(index: int) -> LineStyle:
    """Return the line style of a model by its place in the list; it changes after four models."""
    return LINE_STYLES[index // SERIES_PER_STYLE % len(LINE_STYLES)]
