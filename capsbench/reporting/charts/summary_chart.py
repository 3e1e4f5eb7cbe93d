"""Chart of the answer: every accuracy of every model, with its interval and its seeds."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import altair as alt

from capsbench.records import Results
from capsbench.reporting.charts.curves import SHOWN, spread
from capsbench.reporting.charts.look import INK, Models, data, specification, tooltips
from capsbench.reporting.charts.scaling_charts import varied_charts
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds
from capsbench.reporting.comparisons.scaling import accuracies
from capsbench.reporting.tables.split_table import heading

ROW = 40  # pixels, of a model: its name and number above, its marks below
UP, DOWN = -10, 8
NAME_LIMIT = 240


def summary_charts(results: Results) -> list[Panel]:
    """Return a panel for each accuracy: one row per model, or the curve of what is varied.

    Args:
        results: The records.
    """
    if results.benchmark.vary:
        return list(varied_charts(results))
    models, groups = Models.of(results), results.by_label()
    panels = []
    for measure, quantity in accuracies(results.cells):
        numbers = {
            title: aggregate_seeds(cells, measure, quantity) for title, cells in groups.items()
        }
        known = {title: each for title, each in numbers.items() if each is not None}
        panels.append(Panel(heading(quantity), _chart(results, models, known)))
    return panels


def _chart(results: Results, models: Models, numbers: dict[str, SeedValues]) -> dict[str, Any]:
    rows = [
        {
            "model": title,
            "label": models.labels[title],
            "values": values.shown,
            "images": ", ".join(f"{n:,}" for n in sorted(values.images)),
            **spread(values, "share"),
        }
        for title, values in numbers.items()
    ]
    read = tooltips(
        model="model", text="mean", interval="95 % interval", n="seeds", images="images"
    )
    y = alt.Y("model:N", sort=list(numbers), axis=None)
    axis = alt.Axis(format=".3~%", grid=True, tickCount=5)
    scale = alt.Scale(domain=_domain(numbers), nice=False)

    def x(field: str) -> alt.X:
        return alt.X(f"{field}:Q", title=None, axis=axis, scale=scale)

    shown = alt.Chart(data(rows)).transform_filter(SHOWN).encode(y)
    marks = shown.encode(color=models.color(), tooltip=read)
    named = shown.mark_text(align="left", dy=UP, fontSize=12, limit=NAME_LIMIT)
    number = shown.mark_text(align="right", dy=UP, fontSize=12, fontWeight="bold")
    intervals = marks.transform_filter("isValid(datum.low)")
    intervals = intervals.mark_rule(strokeWidth=2, opacity=0.6, yOffset=DOWN)
    limits = intervals.encode(x("low"), alt.X2("high:Q"))
    seeds = marks.transform_filter("seeds").transform_flatten(["values"])
    return specification(
        [
            *_chance(results, x, scale),
            *([limits] if any(row["low"] is not None for row in rows) else []),
            seeds.mark_tick(size=14, thickness=1.2, opacity=0.8, yOffset=DOWN).encode(x("values")),
            marks.mark_point(size=80, filled=True, opacity=1, yOffset=DOWN).encode(
                x("mean"), shape=models.shape()
            ),
            named.encode(x=alt.value(0), text="model:N", color=alt.value(INK)),
            number.encode(x=alt.value("width"), text="text:N", color=alt.value(INK)),
        ],
        height=ROW * len(numbers),
    )


def _domain(numbers: dict[str, SeedValues]) -> list[float]:
    """Return the range of all seeds and intervals, somewhat wider; dots need no zero."""
    limits = [each.interval for each in numbers.values() if each.interval]
    values = [value for each in numbers.values() for value in each.shown]
    values += [limit for interval in limits for limit in interval]
    margin = 0.06 * (max(values) - min(values)) or 0.02
    return [max(0.0, min(values) - margin), min(1.0, max(values) + margin)]


def _chance(results: Results, x: Callable[[str], alt.X], scale: alt.Scale) -> list[alt.Chart]:
    """Return a dotted line at the accuracy of guessing, if the axis reaches that far."""
    described = results.data()
    if described is None or 1 / described.num_classes < scale.domain[0]:
        return []
    line = alt.Chart(data([{"chance": 1 / described.num_classes}]))
    return [line.mark_rule(color=INK, opacity=0.6, strokeDash=[1.5, 3]).encode(x("chance"))]
