"""Chart of a metric over the views of one factor, one line per model."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import altair as alt

from capsbench.measures import Measure, ViewFigureSpec
from capsbench.records import Results
from capsbench.reporting.charts.curves import Curve, curve_layers
from capsbench.reporting.charts.look import INK, Models, data, specification, tooltips
from capsbench.reporting.comparisons.aggregate import CurvePoint, curve
from capsbench.reporting.formatting import AXES, NUMBER_FORMATS, view
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.spread import Spread


def view_chart(
    results: Results, name: str, measure: type[Measure[Any]], spec: ViewFigureSpec, factor: str
) -> dict[str, Any]:
    """Return the specification of a metric over the views of a factor.

    The familiar views are shaded. At the views, an invisible column reads out all models.

    Args:
        results: The records.
        name: Name of the measure in the records.
        measure: The measure.
        spec: Specification of the figure.
        factor: The factor.
    """
    models, unit = Models.of(results), measure.metrics[spec.metric].unit
    points = {
        title: curve(cells, factor, measure=name, metric=spec.metric)
        for title, cells in results.by_label().items()
    }
    views = sorted({point.view for each in points.values() for point in each})
    x, domain = view_axis(factor, views)
    curves = [
        Curve(title, [(point.view, point.seed_values) for point in each])
        for title, each in points.items()
    ]
    lines = curve_layers(curves, models, x, at=AXES[factor], axis=spec.axis, unit=unit, band=True)
    familiar = results.benchmark.views.spread(factor)
    behind = [*_familiar(x, familiar, factor, domain), _read_out(x, points, factor, views, unit)]
    if spec.metric == "accuracy" and (described := results.data()):
        behind.append(_chance(1 / described.num_classes))
    return specification([*behind, *lines])


def view_axis(factor: str, views: Sequence[float]) -> tuple[alt.X, tuple[float, float]]:
    """Return the horizontal axis of views, in the field ``x``, with its ends.

    Args:
        factor: The factor.
        views: Its views, rising.
    """
    axis = alt.Axis(tickCount=8)
    if factor == "rotation" and views[-1] - views[0] >= 180:
        axis = alt.Axis(values=list(range(-360, 361, 90 if views[-1] - views[0] > 270 else 45)))
    margin = 0.02 * (views[-1] - views[0]) or 0.5
    domain = (views[0] - margin, views[-1] + margin)
    scale = alt.Scale(domain=list(domain), nice=False)
    return alt.X("x:Q", title=AXES[factor], scale=scale, axis=axis), domain


def _read_out(
    x: alt.X,
    points: dict[str, Sequence[CurvePoint]] | dict[str, list[CurvePoint]],
    factor: str,
    views: Sequence[float],
    unit: str,
) -> alt.Chart:
    """Return columns between neighboring views that tell the mean of every model."""
    text = NUMBER_FORMATS[unit].text
    means = [{p.view: text(p.seed_values.mean) for p in each} for each in points.values()]
    middles = [(a + b) / 2 for a, b in pairwise(views)]
    edges = [views[0], *middles, views[-1]]
    rows = [
        {"x": edges[i], "end": edges[i + 1], "at": view(factor, value)}
        | {f"m{j}": each.get(value, "not measured") for j, each in enumerate(means)}
        for i, value in enumerate(views)
    ]
    titles = {"at": "view"} | {f"m{j}": title for j, title in enumerate(points)}
    columns = alt.Chart(data(rows)).mark_rect(opacity=0)
    return columns.encode(x, alt.X2("end:Q"), tooltip=tooltips(**titles))


def _familiar(
    x: alt.X, familiar: Spread | None, factor: str, domain: tuple[float, float]
) -> list[alt.Chart]:
    """Return the shades of the familiar views; of an angle also 360 degrees away."""
    if familiar is None:
        return []
    period = FACTORS[factor].period
    rows = []
    for start, end in familiar.segments:
        for offset in (0.0,) if period is None else (-period, 0.0, period):
            low, high = max(start + offset, domain[0]), min(end + offset, domain[1])
            if low <= high:
                rows.append({"x": low, "end": high})
    ranges = [row for row in rows if row["x"] < row["end"]]
    single = [row for row in rows if row["x"] == row["end"]]
    drawn = []
    if ranges:
        shades = alt.Chart(data(ranges)).mark_rect(color=INK, opacity=0.08)
        drawn.append(shades.encode(x, alt.X2("end:Q")))
    if single:
        drawn.append(alt.Chart(data(single)).mark_rule(color=INK, opacity=0.35).encode(x))
    return drawn


def _chance(share: float) -> alt.Chart:
    """Return a dotted line at the accuracy of guessing."""
    line = alt.Chart(data([{"y": share}])).encode(alt.Y("y:Q"))
    return line.mark_rule(color=INK, opacity=0.6, strokeDash=[1.5, 3])
