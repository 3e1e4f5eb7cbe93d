"""Charts of a training: loss and validation accuracy over the steps."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from capsbench.records import CellResult
from capsbench.reporting.charts.look import INK, SOLID, data, specification, tooltips, y_axis
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.comparisons.aggregate import SHOWN_SEEDS
from capsbench.reporting.figures.style import css_color
from capsbench.reporting.formatting import percent

HEIGHT = 150  # pixels
DASHED = [5, 3]


def training_charts(cells: Sequence[CellResult], place: int) -> Iterator[Panel]:
    """Yield loss and validation accuracy over the steps of a training, a line for each seed.

    Args:
        cells: The seeds of one model, of which the first `SHOWN_SEEDS` are drawn.
        place: Place of the model in the list of models, for its color.
    """
    rows = list(_rows([cell for cell in cells[:SHOWN_SEEDS] if cell.trajectory]))
    if not rows:
        return
    color = css_color(place)
    x = alt.X("step:Q", title="step", scale=alt.Scale(nice=False), axis=alt.Axis(format="~s"))
    read = tooltips(
        seed="seed", kind="images", at="step", loss_text="loss", accuracy_text="accuracy"
    )
    encoded = alt.Chart(data(rows)).encode(x, detail="seed:N", tooltip=read)
    kinds = alt.Scale(domain=["training", "validation"], range=[color, INK])
    dashes = alt.Scale(domain=["training", "validation"], range=[SOLID, DASHED])
    legend = alt.Legend(title=None)
    loss = encoded.mark_line(point=alt.OverlayMarkDef(size=14), strokeWidth=1.4).encode(
        alt.Y("loss:Q", title="loss", scale=alt.Scale(zero=True)),
        color=alt.Color("kind:N", scale=kinds, legend=legend),
        strokeDash=alt.StrokeDash("kind:N", scale=dashes, legend=legend),
    )
    yield Panel("", specification([loss], height=HEIGHT))
    accurate = encoded.transform_filter("isValid(datum.accuracy)")
    y = y_axis("accuracy", "validation accuracy", is_share=True)
    line = accurate.mark_line(point=alt.OverlayMarkDef(size=14, color=color), color=color).encode(y)
    ring = accurate.transform_filter("datum.selected")
    marked = ring.mark_point(size=110, color=INK, strokeWidth=1.4, opacity=1).encode(y)
    rings = [marked] if any(row["selected"] for row in rows) else []
    yield Panel("", specification([line, *rings], height=HEIGHT))


def _rows(cells: Sequence[CellResult]) -> Iterator[dict[str, Any]]:
    """Yield the losses of training and validation at each step, the accuracy with the latter."""
    for cell in cells:
        selected = cell.training.selected.get("validation") if cell.training else None
        for row in cell.trajectory:
            accuracy = row["validation_accuracy"]
            for kind, loss in (("training", "train_loss"), ("validation", "validation_loss")):
                value = row[loss]
                of_validation = kind == "validation"
                yield {
                    "seed": str(cell.seed),
                    "kind": kind,
                    "step": row["step"],
                    "at": f"{row['step']:,}",
                    "loss": value,
                    "loss_text": f"{value:.4g}",
                    "accuracy": accuracy if of_validation else None,
                    "accuracy_text": percent(accuracy) if of_validation else "not measured",
                    "selected": of_validation
                    and selected is not None
                    and selected.accuracy is not None
                    and selected.step == row["step"],
                }
