"""Charts that go through the layers of each model, one panel for each model and factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from capsbench.measures import LayerFigureSpec
from capsbench.records import CellResult, Results
from capsbench.reporting.charts.look import INK, SOLID, data, specification, tooltips
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.comparisons.layer_lines import (
    LAST,
    UNTRAINED,
    Drawn,
    drawn_quantities,
    layer_values,
    lines_of,
)
from capsbench.reporting.figures.style import css_color
from capsbench.reporting.formatting import FACTORS, number

TRAINED_SHAPES, DASHED, DOTTED = ("circle", "square"), [5.0, 3.0], [1.5, 2.5]


def layer_charts(results: Results, name: str, spec: LayerFigureSpec) -> Iterator[Panel]:
    """Yield a panel for each factor and each model that has values.

    Args:
        results: The records.
        name: Name of the measure in the records.
        spec: Specification of the figure.
    """
    places = results.color_indices()
    factors = dict.fromkeys(each.factor for each in drawn_quantities(results.cells, name, spec))
    rows = {
        (factor, title): list(_rows(cells, name, spec, factor))
        for factor in factors
        for title, cells in results.by_label().items()
    }
    heights = {factor: _domain(rows, factor, spec) for factor in factors}
    for (factor, title), own in rows.items():
        if own:
            heading = title if factor is None else f"{FACTORS[factor]}: {title}"
            color = css_color(places[title])
            yield Panel(heading, _chart(own, spec, color, heights[factor]))


def _rows(
    cells: Sequence[CellResult], name: str, spec: LayerFigureSpec, factor: str | None
) -> Iterator[dict[str, Any]]:
    """Yield a row for each layer of each line."""
    drawn_here = drawn_quantities(cells, name, spec)
    for line, before in lines_of(spec):
        for quantity in drawn_here:
            same = (quantity.metric, quantity.condition) == (line.metric, line.condition)
            values = layer_values(cells, name, quantity, before)
            if same and quantity.factor == factor and values is not None:
                limits = values.interval
                yield {
                    "layer": str(quantity.layer),
                    "line": _name((line, before)),
                    "mean": spec.height(values.mean),
                    "low": spec.height(limits[0]) if limits else None,
                    "high": spec.height(limits[1]) if limits else None,
                    "values": [spec.height(value) for value in values.shown],
                    "text": number(round(values.mean, 4)),
                    "interval": f"{limits[0]:.3g} to {limits[1]:.3g}" if limits else "none",
                    "n": str(values.n),
                }


def _domain(
    rows: dict[tuple[str | None, str], list[dict[str, Any]]],
    factor: str | None,
    spec: LayerFigureSpec,
) -> list[float]:
    """Return the lowest and highest number of a factor, so that all its panels have one axis."""
    heights = [*spec.references]
    for (of, _), each in rows.items():
        if of == factor:
            for row in each:
                heights += [row["mean"], *row["values"]]
                heights += [] if row["low"] is None else [row["low"], row["high"]]
    return [min(heights), max(heights)]


def _chart(
    rows: Sequence[dict[str, Any]], spec: LayerFigureSpec, color: str, domain: Sequence[float]
) -> dict[str, Any]:
    layers = list(dict.fromkeys(row["layer"] for row in rows))
    on_path = layers[: layers.index(LAST) + 1] if LAST in layers else layers
    lines = [each for each in lines_of(spec) if any(row["line"] == _name(each) for row in rows)]
    names = [_name(each) for each in lines]
    axis = alt.Axis(labelAngle=-50, labelLimit=110, labelOverlap=False)
    x = alt.X("layer:N", title=None, sort=layers, axis=axis)
    scale = alt.Scale(domain=list(domain), nice=True)
    colors = alt.Scale(domain=names, range=[INK if line.control else color for line, _ in lines])
    dashes = alt.Scale(domain=names, range=[_dash(each) for each in lines])
    shapes = alt.Scale(domain=names, range=[_shape(each, spec) for each in lines])
    legend = alt.Legend(title=None, columns=1)
    encoded = alt.Chart(data(rows)).encode(
        x,
        color=alt.Color("line:N", scale=colors, legend=legend),
        tooltip=tooltips(
            layer="layer", line="line", text="mean", interval="95 % interval", n="seeds"
        ),
    )
    path = encoded.transform_filter(alt.FieldOneOfPredicate(field="layer", oneOf=on_path))
    drawn = [
        alt.Chart(data([{"y": y}]))
        .mark_rule(color=INK, opacity=0.5, strokeDash=[1.5, 3])
        .encode(alt.Y("y:Q", scale=scale))
        for y in spec.references
    ]
    drawn += [
        encoded.transform_filter("isValid(datum.low)")
        .mark_rule(opacity=0.6)
        .encode(alt.Y("low:Q", title=spec.axis, scale=scale), alt.Y2("high:Q")),
        path.mark_line(strokeWidth=1.5).encode(
            alt.Y("mean:Q", title=spec.axis, scale=scale),
            strokeDash=alt.StrokeDash("line:N", scale=dashes, legend=legend),
        ),
        encoded.mark_point(size=40, filled=True, opacity=1).encode(
            alt.Y("mean:Q", title=spec.axis, scale=scale),
            shape=alt.Shape("line:N", scale=shapes, legend=legend),
        ),
        encoded.transform_filter("seeds")
        .transform_flatten(["values"])
        .mark_tick(orient="horizontal", size=9, thickness=1.2)
        .encode(alt.Y("values:Q", title=spec.axis, scale=scale)),
    ]
    return specification(drawn)


def _name(drawn: Drawn) -> str:
    line, before = drawn
    return UNTRAINED.format(name=line.name) if before else line.name


def _dash(drawn: Drawn) -> list[float]:
    line, before = drawn
    return DOTTED if before else DASHED if line.control else SOLID


def _shape(drawn: Drawn, spec: LayerFigureSpec) -> str:
    line, before = drawn
    if before or line.control:
        return "cross" if before else "stroke"
    return TRAINED_SHAPES[line is not spec.lines[0]]
