"""Figure of a training: loss and validation accuracy over the steps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from capsbench.records import CellResult
from capsbench.reporting.comparisons.aggregate import SHOWN_SEEDS
from capsbench.reporting.figures.plotting import PANEL, new_figure, share_axis
from capsbench.reporting.figures.style import INK, series

HEIGHT = 3.6  # inches


def training_figure(cells: Sequence[CellResult], index: int) -> Figure | None:
    """Draw loss and validation accuracy over the steps of a training, one line per seed.

    Args:
        cells: The seeds of one model, of which the first `SHOWN_SEEDS` are drawn.
        index: Place of the model in the list of models, for its color.

    Returns:
        The figure; None if there is no trajectory yet.
    """
    cells = [cell for cell in cells[:SHOWN_SEEDS] if cell.trajectory]
    if not cells:
        return None
    color = series(index).color
    with new_figure((PANEL[0], HEIGHT)) as figure:
        loss, accuracy = figure.subplots(2, 1, sharex=True)
        for cell in cells:
            steps = [row["step"] for row in cell.trajectory]
            column = {key: [row[key] for row in cell.trajectory] for key in cell.trajectory[0]}
            marker = "." if len(steps) < 30 else ""
            line: dict[str, Any] = {"linewidth": 1.2, "marker": marker, "markersize": 4}
            loss.plot(steps, column["train_loss"], color=color, **line)
            loss.plot(steps, column["validation_loss"], color=INK, linestyle="--", **line)
            accuracy.plot(steps, column["validation_accuracy"], color=color, **line)
            selected = cell.training.selected.get("validation") if cell.training else None
            if selected and selected.accuracy is not None:
                accuracy.plot(
                    [selected.step],
                    [selected.accuracy],
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
            Line2D([], [], color=color),
            Line2D([], [], color=INK, linestyle="--"),
            Line2D([], [], color=INK, marker="o", fillstyle="none", linestyle=""),
        ]
        names = ["training", "validation", "selected"]
        figure.legend(handles, names, loc="outside upper left", ncols=3, handlelength=1.6)
    return figure
