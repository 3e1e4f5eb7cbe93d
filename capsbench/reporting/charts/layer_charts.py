"""Charts that go through the layers of every model, one panel for each factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from capsbench.measures import LayerFigureSpec
from capsbench.records import Results
from capsbench.reporting.charts.curves import SHOWN, spread
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
from capsbench.reporting.formatting import FACTORS

# Of the first, second and third line of a kind; the legend shows the dash of each.
TRAINED_DASHES: tuple[list[float], ...] = (SOLID, [9, 2], [9, 2, 2, 2])
UNTRAINED_DASHES: tuple[list[float], ...] = ([1.5, 2.5], [1.5, 5], [1.5, 2, 1.5, 6])
CONTROL_DASHES: tuple[list[float], ...] = ([5, 3], [5, 6], [3, 3, 6, 3])
SHAPES = ("circle", "square", "triangle-up")  # open for networks before training
CONTROL_SHAPES = ("diamond", "triangle-down", "cross")
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
                    drawn = spread(values, "number")
                    heights = {
                        end: None if drawn[end] is None else spec.height(drawn[end])
                        for end in ("mean", "low", "high")
                    }
                    yield {
                        "model": title,
                        "label": cells[0].label,
                        "x": f"{index} {quantity.layer}",
                        "layer": str(quantity.layer),
                        "path": layers.index(str(quantity.layer)) <= last,
                        "line": _name((line, before)),
                        "open": before or line.control,
                        "values": [spec.height(value) for value in values.shown],
                        **drawn,
                        **heights,
                    }


def _chart(rows: Sequence[dict[str, Any]], models: Models, spec: LayerFigureSpec) -> dict[str, Any]:
    lines = [each for each in lines_of(spec) if any(row["line"] == _name(each) for row in rows)]
    names = [_name(each) for each in lines]
    axis = alt.Axis(labelAngle=-50, labelLimit=130, labelOverlap=False, labelExpr=LAYER)
    x = alt.X("x:N", title=None, sort=list(dict.fromkeys(row["x"] for row in rows)), axis=axis)
    dashes = alt.Scale(domain=names, range=[_dash(each, spec) for each in lines])
    shapes = alt.Scale(domain=names, range=[_shape(each, spec) for each in lines])
    legend = alt.Legend(
        title=None, columns=1, symbolType="stroke", symbolSize=500, symbolStrokeColor=INK
    )
    dash = alt.StrokeDash("line:N", scale=dashes, legend=legend)
    shape = alt.Shape("line:N", scale=shapes, legend=None)
    read = tooltips(
        model="model", layer="layer", line="line", text="mean", interval="95 % interval", n="seeds"
    )
    shown = alt.Chart(data(rows)).transform_filter(SHOWN)
    marks = shown.encode(x, color=models.color(), tooltip=read)
    intervals = marks.transform_filter("isValid(datum.low)").mark_rule(opacity=0.6)
    seeds = marks.transform_filter("seeds").transform_flatten(["values"])
    path = marks.transform_filter("datum.path")
    trained, others = (marks.transform_filter(f"{sign}datum.open") for sign in ("!", ""))

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
            trained.mark_point(size=44, filled=True, opacity=1).encode(y("mean"), shape=shape),
            others.mark_point(size=50, opacity=1, strokeWidth=1.4).encode(y("mean"), shape=shape),
        ]
    )


def _name(drawn: Drawn) -> str:
    line, before = drawn
    return UNTRAINED.format(name=line.name) if before else line.name


def _dash(drawn: Drawn, spec: LayerFigureSpec) -> list[float]:
    line, before = drawn
    kinds = CONTROL_DASHES if line.control else UNTRAINED_DASHES if before else TRAINED_DASHES
    return kinds[_place(drawn, spec) % len(kinds)]


def _shape(drawn: Drawn, spec: LayerFigureSpec) -> str:
    shapes = CONTROL_SHAPES if drawn[0].control else SHAPES
    return shapes[_place(drawn, spec) % len(shapes)]


def _place(drawn: Drawn, spec: LayerFigureSpec) -> int:
    """Return the place of a line among the controls, or among the others."""
    return [each for each in spec.lines if each.control == drawn[0].control].index(drawn[0])
