"""Heat maps of a metric over joint views: one for each model, and one for each difference."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product
from typing import Any, Literal

import altair as alt
import numpy as np

from capsbench.measures import HeatMapFigureSpec, Measure
from capsbench.records import Results
from capsbench.reporting.charts.look import data, specification, tooltips
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.comparisons.joint_views import (
    DARK,
    LIGHT,
    SMALLEST_LIMIT,
    Bools,
    Floats,
    JointViews,
    insignificant,
    joint_views,
    limits_of,
    runs,
)
from capsbench.reporting.formatting import AXES, NUMBER_FORMATS, number, view

# Color-blind readers can read both; they look the same on light and on dark paper.
SEQUENTIAL: Literal["viridis"] = "viridis"
DIVERGING: Literal["redblue"] = "redblue"


def heat_map_charts(
    results: Results, name: str, measure: type[Measure[Any]], spec: HeatMapFigureSpec
) -> Iterator[Panel]:
    """Yield the map of each model, then that of each difference from the first model.

    Args:
        results: The records.
        name: Name of the measure in the records.
        measure: The measure.
        spec: Specification of the figure.
    """
    views = joint_views(results, name, spec.metric)
    if views is None:
        return
    groups = results.by_label()
    measured = {
        title: cells
        for title, cells in groups.items()
        if any(name in cell.measures for cell in cells)
    }
    unit = measure.metrics[spec.metric].unit
    maps = {title: views.means(cells, name) for title, cells in measured.items()}
    (first, base), *others = maps.items()
    low, high = (0.0, 1.0) if unit == "share" else limits_of(maps)
    unmarked = np.zeros_like(base, dtype=bool)
    for title, values in maps.items():
        yield Panel(title, _map(views, values, unmarked, unit, spec.axis, SEQUENTIAL, (low, high)))
    differences = {title: values - base for title, values in others}
    unit = "difference of shares" if unit == "share" else unit
    largest = max([SMALLEST_LIMIT, *map(abs, limits_of(differences))] if differences else [1])
    for title, values in differences.items():
        marks = insignificant(views, measured[title], measured[first], name, spec)
        drawn = _map(
            views, values, marks, unit, f"difference in {spec.axis}", DIVERGING, (-largest, largest)
        )
        yield Panel(f"{title} minus {first}", drawn)


def _map(
    views: JointViews,
    values: Floats,
    marks: Bools,
    unit: str,
    title: str,
    scheme: Literal["viridis", "redblue"],
    limits: tuple[float, float],
) -> dict[str, Any]:
    """Return one map, the first factor from left to right, the familiar views outlined."""
    text = NUMBER_FORMATS[unit].text
    first, second = views.factors
    x_order, y_order = [number(v) for v in views.first], [number(v) for v in reversed(views.second)]
    rows = [
        {
            "x": number(a),
            "y": number(b),
            "value": values[i, j],
            "at": f"{view(first, a)}, {view(second, b)}",
            "text": text(float(values[i, j])),
            "mark": bool(marks[i, j]),
        }
        for (i, a), (j, b) in product(enumerate(views.first), enumerate(views.second))
        if not np.isnan(values[i, j])
    ]
    x = alt.X("x:O", sort=x_order, title=AXES[first], axis=alt.Axis(labelAngle=0))
    y = alt.Y("y:O", sort=y_order, title=AXES[second].replace(" (", "\n(").split("\n"))
    is_share = unit in ("share", "difference of shares")
    color = alt.Color(
        "value:Q",
        title=title,
        scale=alt.Scale(scheme=scheme, domain=list(limits)),
        legend=alt.Legend(format=".0%" if is_share else "", direction="horizontal", titleLimit=300),
    )
    cells = (
        alt.Chart(data(rows))
        .mark_rect()
        .encode(x, y, color=color, tooltip=tooltips(at="views", text=title))
    )
    dots = (
        alt.Chart(data([row for row in rows if row["mark"]]))
        .mark_circle(size=14, color=DARK, opacity=1)
        .encode(x, y)
    )
    marked = [dots] if marks.any() else []
    outlines = _outlines(views, x_order, y_order) if views.familiar.any() else []
    return specification([cells, *marked, *outlines], height=240)


def _outlines(views: JointViews, x_order: list[str], y_order: list[str]) -> list[alt.Chart]:
    """Return the outlines of the familiar views, dark on light."""
    columns, rows = (runs(np.asarray(views.familiar.any(axis=axis))) for axis in (1, 0))
    boxes = [
        {
            "x": number(views.first[a]),
            "end": number(views.first[b - 1]),
            "y": number(views.second[d - 1]),
            "bottom": number(views.second[c]),
        }
        for (a, b), (c, d) in product(columns, rows)
    ]
    encoded = alt.Chart(data(boxes)).encode(
        alt.X("x:O", sort=x_order, bandPosition=0),
        alt.X2("end", bandPosition=1),
        alt.Y("y:O", sort=y_order, bandPosition=0),
        alt.Y2("bottom", bandPosition=1),
    )
    return [
        encoded.mark_rect(filled=False, stroke=color, strokeWidth=width)
        for color, width in ((LIGHT, 3), (DARK, 1.4))
    ]
