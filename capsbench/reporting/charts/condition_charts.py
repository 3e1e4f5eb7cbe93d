"""Charts of a metric against a numerical condition, one panel for each combination of others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import altair as alt

from capsbench.measures import ConditionFigureSpec, Measure
from capsbench.records import Results
from capsbench.reporting.charts.curves import Curve, curve_layers
from capsbench.reporting.charts.look import Models, specification
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.comparisons.conditions import condition_curve, panel_keys, panel_title
from capsbench.reporting.formatting import number


def condition_charts(
    results: Results, name: str, measure: type[Measure[Any]], spec: ConditionFigureSpec
) -> Iterator[Panel]:
    """Yield a panel for each combination of the fields in ``spec.panels`` that was measured.

    Values of the condition stand at even steps: those that grow by factors would crowd at 0.

    Args:
        results: The records.
        name: Name of the measure in the records.
        measure: The measure.
        spec: Specification of the figure.
    """
    models, unit = Models.of(results), measure.metrics[spec.metric].unit
    metrics = {spec.metric: spec.metric.replace("_", " ")}
    metrics |= {line.metric: line.name for line in spec.further_lines}
    for key in panel_keys(results, name, spec):
        by_curve = {
            (title, metric): points
            for metric in metrics
            for title, cells in results.by_label().items()
            if (points := condition_curve(cells, name, spec, key, metric))
        }
        values = sorted({x for points in by_curve.values() for x, _ in points})
        curves = [
            Curve(title, [(number(x), seed_values) for x, seed_values in points], metrics[metric])
            for (title, metric), points in by_curve.items()
        ]
        order = [number(value) for value in values]
        axis = alt.Axis(labelAngle=0)
        x = alt.X(
            "x:O", title=spec.condition_axis, sort=order, axis=axis, scale=alt.Scale(padding=0.5)
        )
        layers = curve_layers(curves, models, x, at=spec.condition_axis, axis=spec.axis, unit=unit)
        yield Panel(panel_title(spec, key), specification(layers))
