"""Charts of the differences between two sides over the views of each factor."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import altair as alt

from capsbench.reporting.charts.curves import SHOWN
from capsbench.reporting.charts.look import INK, Models, data, specification, tooltips
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.charts.view_chart import view_axis
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.comparisons.paired import PairedDifference
from capsbench.reporting.formatting import AXES, FACTORS, points, share, view

TITLE = "B minus A (percentage points)"


def pair_places(views: Sequence[Sequence[PairedDifference]]) -> dict[str, int]:
    """Return the place of each pair in the legend, for its color, by its title."""
    return {own[0].pair.title: place for place, own in enumerate(views)}


def difference_charts(views: Sequence[Sequence[PairedDifference]]) -> Iterator[Panel]:
    """Yield a panel for each factor: a line and a band of corrected intervals for each pair.

    Args:
        views: Differences at single views, of one pair after the other.
    """
    places = pair_places(views)
    models = Models(places, {title: title for title in places})
    rows: dict[str, list[dict[str, Any]]] = {}
    for own in views:
        for each in own:
            if each.measure == ACCURACY_BY_VIEW and each.quantity.factor is not None:
                rows.setdefault(each.quantity.factor, []).append(_row(each))
    for factor, drawn in rows.items():
        yield Panel(FACTORS[factor], _chart(drawn, models, factor))


def _row(each: PairedDifference) -> dict[str, Any]:
    limits, factor, value = each.difference.interval, each.quantity.factor, each.quantity.view
    assert factor is not None
    assert value is not None
    return {
        "model": each.pair.title,
        "label": each.pair.title,
        "x": value,
        "at": view(factor, value),
        "mean": 100 * each.difference.mean,
        "low": 100 * limits[0] if limits else None,
        "high": 100 * limits[1] if limits else None,
        "text": points(each.difference.mean),
        "interval": " to ".join(map(share, limits)) if limits else "none",
    }


def _chart(rows: Sequence[dict[str, Any]], models: Models, factor: str) -> dict[str, Any]:
    x, _ = view_axis(factor, sorted({row["x"] for row in rows}))
    y = alt.Y("mean:Q", title=TITLE)
    zero = alt.Chart(data([{"y": 0}])).mark_rule(color=INK, opacity=0.6, strokeDash=[1.5, 3])
    lines = alt.Chart(data(rows)).transform_filter(SHOWN).encode(x, color=models.color())
    band = lines.transform_filter("isValid(datum.low)").mark_area(opacity=0.16)
    read = tooltips(model="model", at=AXES[factor], text=TITLE, interval="95 % interval")
    marks = lines.mark_point(size=48, filled=True, opacity=1)
    return specification(
        [
            zero.encode(alt.Y("y:Q", title=TITLE)),
            band.encode(alt.Y("low:Q", title=TITLE), alt.Y2("high:Q")),
            lines.mark_line(strokeWidth=1.8).encode(y, strokeDash=models.dash()),
            marks.encode(y, shape=models.shape(), tooltip=read),
        ]
    )
