"""Lines of models: means over seeds, their intervals, and a mark for each seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from capsbench.reporting.charts.look import INK, PAPER, SOLID, Models, data, tooltips, y_axis
from capsbench.reporting.comparisons.aggregate import SeedValues
from capsbench.reporting.formatting import NUMBER_FORMATS

SHOWN = "indexof(hidden, datum.label) < 0"
SHOWN_SEEDS = f"seeds && {SHOWN}"
KIND_DASHES = (SOLID, [5, 3], [1.5, 2.5], [6, 2, 1.5, 2])


@dataclass(frozen=True)
class Curve:
    """A metric of one model along the horizontal axis.

    Attributes:
        model: Name of the model.
        points: Places on the axis, and the numbers there.
        kind: Kind of the line, where models have several; only the first kind shows its seeds.
    """

    model: str
    points: Sequence[tuple[float | str, SeedValues]]
    kind: str = ""


def curve_layers(
    curves: Sequence[Curve],
    models: Models,
    x: alt.X,
    *,
    at: str,
    axis: str,
    unit: str,
    band: bool = False,
    connected: bool = True,
    fitted: bool = False,
) -> list[alt.Chart]:
    """Return the layers of lines of models.

    Args:
        curves: The lines.
        models: Colors and shapes of their models.
        x: The horizontal axis, whose field is ``x``.
        at: Title of the horizontal axis.
        axis: Title of the vertical axis.
        unit: Unit of the numbers, a key of `capsbench.reporting.formatting.NUMBER_FORMATS`.
        band: Draw 95 % intervals as one band, in place of an upright line at each point.
        connected: False for points without an order: they lie side by side, without lines.
        fitted: True for an axis of shares that begins and ends with the marks.
    """
    is_share = unit == "share"
    kinds = list(dict.fromkeys(curve.kind for curve in curves))
    means = [row for curve in curves for row in _mean_rows(curve, models, unit)]
    main = [curve for curve in curves if curve.kind == kinds[0]]
    seeds = data([row for curve in main for row in _seed_rows(curve, models, unit)])
    color, shape = models.color(), models.shape()
    beside = alt.XOffset("model:N", sort=list(models.places))
    at_mean = alt.Chart(data(means)).transform_filter(SHOWN).encode(x, color=color)
    at_seed = alt.Chart(seeds).transform_filter(SHOWN_SEEDS).encode(x, color=color)
    if not connected:
        at_mean, at_seed = (each.encode(xOffset=beside) for each in (at_mean, at_seed))
    layers = []
    if any(row["low"] is not None for row in means):
        low = y_axis("low", axis, is_share=is_share, fitted=fitted)
        limits = at_mean.transform_filter("isValid(datum.low)")
        drawn = limits.mark_area(opacity=0.16) if band else limits.mark_rule(opacity=0.6)
        layers.append(drawn.encode(low, alt.Y2("high:Q")))
    y = y_axis("mean", axis, is_share=is_share, fitted=fitted)
    if connected:
        legend = alt.Legend(title=None, symbolType="stroke", symbolStrokeColor=INK)
        dashes = alt.Scale(domain=kinds, range=list(KIND_DASHES[: len(kinds)]))
        dash = (
            alt.StrokeDash("kind:N", scale=dashes, legend=legend)
            if len(kinds) > 1
            else models.dash()
        )
        layers.append(at_mean.mark_line(strokeWidth=1.8).encode(y, strokeDash=dash))
    read = tooltips(model="model", at=at, text="mean", interval="95 % interval", n="seeds")
    alone = not connected or all(len(curve.points) == 1 for curve in curves)
    mark = (
        at_mean.mark_tick(orient="horizontal", size=18, thickness=2)
        if alone
        else at_mean.mark_point(opacity=0)
    )
    layers.append(mark.encode(y, tooltip=read))
    marks = at_seed.mark_point(size=48, filled=True, opacity=1, stroke=PAPER, strokeWidth=0.5)
    read = tooltips(model="model", at=at, text="value", seed="seed")
    y = y_axis("value", axis, is_share=is_share, fitted=fitted)
    layers.append(marks.encode(y, shape=shape, tooltip=read))
    return layers


def spread(seed_values: SeedValues, unit: str) -> dict[str, Any]:
    """Return the fields of a mean over seeds: numbers to draw, and texts to read out."""
    text, bare = NUMBER_FORMATS[unit]
    limits = seed_values.interval
    return {
        "mean": seed_values.mean,
        "low": limits[0] if limits else None,
        "high": limits[1] if limits else None,
        "text": text(seed_values.mean),
        "interval": f"{bare(limits[0])} to {bare(limits[1])}" if limits else "none",
        "n": str(seed_values.n),
    }


def _mean_rows(curve: Curve, models: Models, unit: str) -> Iterator[dict[str, Any]]:
    for x, seed_values in curve.points:
        yield {
            "model": curve.model,
            "label": models.labels[curve.model],
            "kind": curve.kind,
            "x": x,
            "at": _place(x),
            **spread(seed_values, unit),
        }


def _seed_rows(curve: Curve, models: Models, unit: str) -> Iterator[dict[str, Any]]:
    text = NUMBER_FORMATS[unit].text
    for x, seed_values in curve.points:
        for seed, value in zip(seed_values.values, seed_values.shown, strict=False):
            yield {
                "model": curve.model,
                "label": models.labels[curve.model],
                "x": x,
                "at": _place(x),
                "value": value,
                "text": text(value),
                "seed": "trained elsewhere" if seed is None else str(seed),
            }


def _place(x: float | str) -> str:
    return x if isinstance(x, str) else f"{x:,g}"
