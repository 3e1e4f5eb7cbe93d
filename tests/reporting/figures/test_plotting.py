"""Style of figures: nothing that a user has set for matplotlib changes a pixel."""

from typing import Any

import matplotlib as mpl
from cycler import cycler

from capsbench.reporting.figures.plotting import annotate, draw_legend, new_figure, pdf, png, svg

HOSTILE: Any = {
    "font.size": 100,
    "font.family": "monospace",
    "text.usetex": True,
    "axes.titlesize": 1,
    "lines.linewidth": 30,
    "axes.prop_cycle": cycler(color=["#ff0000"]),
    "figure.autolayout": True,
    "savefig.bbox": "tight",
    "savefig.transparent": True,
    "path.sketch": (1, 100, 2),
    "xtick.labelsize": 90,
    "axes.formatter.use_locale": True,
    "legend.loc": "center",
    "svg.fonttype": "path",
    "pdf.fonttype": 3,
    "pdf.compression": 0,
}


def draw():
    with new_figure((3, 2)) as figure:
        axes, other = figure.subplots(1, 2, sharey=True)
        axes.plot([0, 1], [0, 1000], label="CNN")
        axes.set_title("Accuracy")
        other.set_xlabel("rotation (degrees)")
        annotate(axes, "novel", (0.5, 1), ("data", "axes fraction"), ha="center", va="top")
        draw_legend(figure, ["CNN"], 1)
    return figure


def drawn():
    figure = draw()
    return png(figure), svg(figure), pdf(figure)


def test_a_file_does_not_depend_on_those_that_were_saved_before():
    figure = draw()
    first = {save: save(figure) for save in (png, svg, pdf)}
    assert {save: save(figure) for save in (pdf, svg, png)} == first


def test_settings_of_matplotlib_change_no_pixel():
    expected = drawn()
    with mpl.rc_context(HOSTILE):
        assert drawn() == expected
        assert mpl.rcParams["font.size"] == 100
