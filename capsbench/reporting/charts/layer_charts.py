"""Charts that go through the layers of every model, one panel for each factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from capsbench.measures import LayerFigureSpec
from capsbench.records import Results
from capsbench.reporting.charts.curves import SHOWN
from capsbench.reporting.charts.look import INK, SOLID, Models, data, specification, tooltips
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.comparisons.layer_lines import (
    LAST,
    UNTRAINED,
    Drawn,
    drawn_quantities,
    layer_values,
    lines_of,
)
from capsbench.reporting.formatting import FACTORS, number

TRAINED_SHAPES, DASHED, DOTTED = ("circle", "square"), [5.0, 3.0], [1.5, 2.5]
LAYER = "slice(datum.label, indexof(datum.label, ' ') + 1)"  # of a place on the axis


def layer_charts(results: Results, name: str, spec: LayerFigureSpec) -> Iterator[Panel]:
    """Yield a panel for each factor: the layers of the models, side by side.

    Args:
        results: The records.
        name: Name of the measure in the records.
        spec: Specification of the figure.
    """
    factors = dict.fromkeys(each.factor for each in drawn_quantities(results.cells, name, spec))
    for factor in factors:
        rows = list(_rows(results, name, spec, factor))
        title = "" if factor is None else FACTORS[factor]
        yield Panel(title, _chart(rows, Models.of(results), spec), wide=True)


def _rows(
    results: Results, name: str, spec: LayerFigureSpec, factor: str | None
) -> Iterator[dict[str, Any]]:
    """Yield a row for each layer of each line of each model."""
    for index, (title, cells) in enumerate(results.by_label().items()):
        drawn_here = drawn_quantities(cells, name, spec)
        layers = list(dict.fromkeys(str(quantity.layer) for quantity in drawn_here))
        last = layers.index(LAST) if LAST in layers else len(layers)
        for line, before in lines_of(spec):
            for quantity in drawn_here:
                same = (quantity.metric, quantity.condition) == (line.metric, line.condition)
                values = layer_values(cells, name, quantity, before)
                if same and quantity.factor == factor and values is not None:
                    limits = values.interval
                    yield {
                        "model": title,
                        "label": cells[0].label,
                        "x": f"{index} {quantity.layer}",
                        "layer": str(quantity.layer),
                        "path": layers.index(str(quantity.layer)) <= last,
                        "line": _name((line, before)),
                        "mean": spec.height(values.mean),
                        "low": spec.height(limits[0]) if limits else None,
                        "high": spec.height(limits[1]) if limits else None,
                        "values": [spec.height(value) for value in values.shown],
                        "text": number(round(values.mean, 4)),
                        "interval": f"{limits[0]:.3g} to {limits[1]:.3g}" if limits else "none",
                        "n": str(values.n),
                    }


def _chart(rows: Sequence[dict[str, Any]], models: Models, spec: LayerFigureSpec) -> dict[str, Any]:
    lines = [each for each in lines_of(spec) if any(row["line"] == _name(each) for row in rows)]
    names = [_name(each) for each in lines]
    axis = alt.Axis(labelAngle=-50, labelLimit=130, labelOverlap=False, labelExpr=LAYER)
    x = alt.X("x:N", title=None, sort=list(dict.fromkeys(row["x"] for row in rows)), axis=axis)
    dashes = alt.Scale(domain=names, range=[_dash(each) for each in lines])
    shapes = alt.Scale(domain=names, range=[_shape(each, spec) for each in lines])
    legend = alt.Legend(title=None, columns=1)
    dash = alt.StrokeDash("line:N", scale=dashes, legend=legend)
    shape = alt.Shape("line:N", scale=shapes, legend=legend)
    read = tooltips(
        model="model", layer="layer", line="line", text="mean", interval="95 % interval", n="seeds"
    )
    shown = alt.Chart(data(rows)).transform_filter(SHOWN)
    marks = shown.encode(x, color=models.color(), tooltip=read)
    intervals = marks.transform_filter("isValid(datum.low)").mark_rule(opacity=0.6)
    seeds = marks.transform_filter("seeds").transform_flatten(["values"])
    path = marks.transform_filter("datum.path")

    def y(field: str) -> alt.Y:
        return alt.Y(f"{field}:Q", title=spec.axis)

    limits = intervals.encode(y("low"), alt.Y2("high:Q"))
    references = [
        alt.Chart(data([{"y": height}]))
        .mark_rule(color=INK, opacity=0.5, strokeDash=[1.5, 3])
        .encode(y("y"))
        for height in spec.references
    ]
    return specification(
        [
            *references,
            *([limits] if any(row["low"] is not None for row in rows) else []),
            seeds.mark_tick(orient="horizontal", size=9, thickness=1.2).encode(y("values")),
            path.mark_line(strokeWidth=1.5).encode(y("mean"), strokeDash=dash),
            marks.mark_point(size=44, filled=True, opacity=1).encode(y("mean"), shape=shape),
        ]
    )


def _name(drawn: Drawn) -> str:
    line, before = drawn
    return UNTRAINED.format(name=line.name) if before else line.name


def _dash(drawn: Drawn) -> list[float]:
    line, before = drawn
    return DOTTED if before else DASHED if line.control else SOLID


def _shape(drawn: Drawn, spec: LayerFigureSpec) -> str:
    line, before = drawn
    if before or line.control:
        return "cross" if before else "diamond"
    return TRAINED_SHAPES[line is not spec.lines[0]]
