"""Charts of classes: the share of each that is recognized, by view, and the confusion matrix."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import altair as alt

from capsbench.reporting.charts.look import data, specification, tooltips
from capsbench.reporting.charts.section import Panel
from capsbench.reporting.comparisons.confusions import ModelConfusions
from capsbench.reporting.formatting import FACTORS, percent, view
from capsbench.values import Value

MOST_CLASSES = 20  # more make no legible chart
HEIGHT = 300  # pixels
NOTHING = "#440154"  # of viridis at 0


class At(NamedTuple):
    """A view in words: its factor, and its value."""

    factor: str
    view: str


def confusion_charts(confused: ModelConfusions) -> list[Panel]:
    """Return the recognized share of each class by view, and the confusions at one view.

    Args:
        confused: The confusions of all models.

    Returns:
        Nothing if there are more classes than `MOST_CLASSES`.
    """
    if len(confused.names) > MOST_CLASSES:
        return []
    views = [_at(value) for value in confused.views]
    return [
        Panel("Recognized, by class and view", _recognized(confused, views), controls=True),
        Panel("Confusion matrix", _confusions(confused, views), controls=True),
    ]


def _at(value: Value) -> At:
    assert value.factor is not None and value.view is not None
    return At(FACTORS[value.factor], view(value.factor, value.view))


def _recognized(confused: ModelConfusions, views: Sequence[At]) -> dict[str, Any]:
    """Return the heat map of classes and views, of a chosen model and factor."""
    counts, names = confused.counts, confused.names
    rows = []
    for title, each in counts.items():
        totals, right = each.sum(axis=2), each.diagonal(axis1=1, axis2=2)
        for i, at in enumerate(views):
            for k, name in enumerate(names):
                if totals[i, k]:
                    share = float(right[i, k] / totals[i, k])
                    rows.append(
                        {
                            "model": title,
                            "factor": at.factor,
                            "view": at.view,
                            "class": name,
                            "share": round(share, 4),
                            "text": percent(share),
                            "n": f"{totals[i, k]:,}",
                        }
                    )
    chosen = "datum.model == model && datum.factor == factor"
    marks = alt.Chart(data(rows)).transform_filter(chosen).mark_rect()
    order = list(dict.fromkeys(at.view for at in views))
    encoded = marks.encode(
        alt.X("view:O", sort=order, title="view", axis=alt.Axis(labelAngle=-50)),
        alt.Y("class:O", sort=list(names), title="class"),
        color=_shares("recognized"),
        tooltip=tooltips(
            model="model", view="view", **{"class": "class"}, text="share", n="images"
        ),
    )
    factors = list(dict.fromkeys(at.factor for at in views))
    choices = [_choice("model", list(counts)), _choice("factor", factors)]
    return specification([encoded], height=HEIGHT, choices=choices)


def _confusions(confused: ModelConfusions, views: Sequence[At]) -> dict[str, Any]:
    """Return the confusion matrix of a chosen model at a chosen view."""
    counts, names, predictable = confused.counts, confused.names, confused.predictable
    fails = any(each[..., -1].any() for each in counts.values())
    rows = [
        {
            "model": title,
            "view": " ".join(at),
            "class": names[k],
            "total": int(row.sum()),
            "predicted": [name for name, n in zip(predictable, row, strict=True) if n],
            "images": [int(n) for n in row[row > 0]],
        }
        for title, each in counts.items()
        for at, matrix in zip(views, [*each], strict=True)
        for k, row in enumerate(matrix)
        if row.any()
    ]
    chosen = alt.Chart(data(rows)).transform_filter("datum.model == model && datum.view == view")
    flat = chosen.transform_flatten(["predicted", "images"])
    shares = flat.transform_calculate(
        share="datum.images / datum.total", text="format(datum.share, '.1%')"
    )
    encoded = shares.mark_rect().encode(
        alt.X(
            "predicted:O",
            sort=predictable if fails else list(names),
            title="predicted class",
            axis=alt.Axis(labelAngle=0),
        ),
        alt.Y("class:O", sort=list(names), title="class"),
        color=_shares("share of the class"),
        tooltip=tooltips(
            **{"class": "class"}, predicted="predicted class", text="share", images="images"
        ),
    )
    choices = [_choice("model", list(counts)), _choice("view", [" ".join(at) for at in views])]
    content = specification([encoded], height=HEIGHT, choices=choices)
    return content | {"view": {"fill": NOTHING}}


def _shares(title: str) -> alt.Color:
    scale = alt.Scale(scheme="viridis", domain=[0, 1])
    legend = alt.Legend(format=".0%", direction="horizontal")
    return alt.Color("share:Q", title=title, scale=scale, legend=legend)


def _choice(name: str, options: Sequence[str]) -> dict[str, Any]:
    """Return a parameter that the reader chooses from a list."""
    bind = {"input": "select", "options": list(options), "name": f"{name} "}
    return {"name": name, "value": options[0], "bind": bind}
