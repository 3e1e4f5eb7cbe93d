"""Charts of accuracy against size, cost, or what a benchmark varies."""

from __future__ import annotations

from collections.abc import Iterator

import altair as alt

from capsbench.records import Results
from capsbench.reporting.charts.curves import Curve, curve_layers
from capsbench.reporting.charts.look import Models, specification
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.comparisons.costs import COSTS, cost_curves
from capsbench.reporting.comparisons.scaling import (
    AccuracyCurves,
    size_arguments,
    size_curves,
    varied_curves,
)


def varied_charts(results: Results) -> Iterator[Panel]:
    """Yield accuracy against what the benchmark varies; nothing if it varies nothing."""
    vary = results.benchmark.vary
    if vary is None:
        return
    if vary.cases is not None:
        names = [str(point) for point in vary.points]
        x = alt.X("x:O", title=vary.name, sort=names, axis=alt.Axis(labelAngle=0, labelLimit=90))
        places = {vary.position(point): str(point) for point in vary.points}
        for each in varied_curves(results):
            yield _panel(results, each, x, vary.name, places=places)
        return
    scale = alt.Scale(type="log" if vary.logarithmic else "linear", nice=False, padding=12)
    ticks = [vary.position(point) for point in vary.points]
    x = alt.X(
        "x:Q",
        title=vary.name,
        scale=scale,
        axis=alt.Axis(values=ticks, format="~s" if vary.logarithmic else "~g"),
    )
    for each in varied_curves(results):
        yield _panel(results, each, x, vary.name)


def size_charts(results: Results) -> Iterator[Panel]:
    """Yield every accuracy against the size of the one network of the benchmark, in one panel."""
    curves, sizes = size_curves(results), size_arguments(results)
    if not curves:
        return
    names = list(sizes)
    title = " (and ".join(names) + ")" * (len(names) - 1)
    numbers = sorted(next(iter(sizes.values())))
    scale = alt.Scale(type="log", base=2, nice=False, padding=12)
    x = alt.X("x:Q", title=title, scale=scale, axis=alt.Axis(values=numbers, format="~g"))
    lines = [Curve(each.title, each.lines[""]) for each in curves]
    models = Models.of(results).named([line.model for line in lines])
    layers = curve_layers(lines, models, x, at=title, axis="accuracy", unit="share")
    yield Panel("", specification(layers))


def cost_charts(results: Results) -> Iterator[Panel]:
    """Yield every accuracy against parameters, and against operations."""
    for cost, curves in cost_curves(results).items():
        scale = alt.Scale(type="log", nice=False, padding=16)
        axis = alt.Axis(format="~s", tickCount=5)
        x = alt.X("x:Q", title=COSTS[cost], scale=scale, axis=axis)
        for each in curves:
            yield _panel(results, each, x, COSTS[cost], fitted=True)


def _panel(
    results: Results,
    curves: AccuracyCurves,
    x: alt.X,
    at: str,
    *,
    places: dict[float, str] | None = None,
    fitted: bool = False,
) -> Panel:
    """Return the panel of one accuracy; cases lie side by side at their places."""
    lines = [
        Curve(
            name, [(place if places is None else places[place], values) for place, values in points]
        )
        for name, points in curves.lines.items()
        if points
    ]
    models = Models.of(results).named([line.model for line in lines])
    layers = curve_layers(
        lines,
        models,
        x,
        at=at,
        axis="accuracy",
        unit="share",
        connected=places is None,
        fitted=fitted,
    )
    return Panel(curves.title, specification(layers))
