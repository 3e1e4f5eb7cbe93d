"""The look of all charts: colors, shapes and dashes of models, axes of shares, and the theme.

Colors are variables of the page's style sheet, so that charts follow its light or dark setting, and
that of print.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from capsbench.records import Results
from capsbench.reporting.figures.style import SERIES_PER_STYLE, css_color, series

HEIGHT = 220  # pixels, of a panel
INK, MUTED, LINE, PAPER = (f"var(--{name})" for name in ("ink", "muted", "line", "paper"))
SOLID: list[float] = [1, 0]
MODEL_DASHES = (SOLID, [6, 3], [2, 2])  # one after the other, see figures/style.py
FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"

THEME: dict[str, Any] = {
    "background": None,
    "font": FONT,
    "axis": {
        "domainColor": MUTED,
        "gridColor": LINE,
        "labelColor": INK,
        "labelFontSize": 12,
        "labelOverlap": "greedy",
        "tickColor": MUTED,
        "titleColor": INK,
        "titleFontSize": 12,
        "titleFontWeight": "normal",
    },
    "axisX": {"grid": False},
    "axisY": {"domain": False, "ticks": False},
    "legend": {
        "labelColor": INK,
        "labelFontSize": 12,
        "labelLimit": 0,
        "orient": "bottom",
        "symbolBaseFillColor": INK,
        "symbolBaseStrokeColor": INK,
        "titleColor": INK,
    },
    "view": {"stroke": None},
}


@dataclass(frozen=True)
class Models:
    """The models that a page lets its reader switch on and off.

    Attributes:
        places: Place of each title in the list of models, for its color.
        labels: Label of each title: of a benchmark that varies something, titles have the value.
    """

    places: Mapping[str, int]
    labels: Mapping[str, str]

    @classmethod
    def of(cls, results: Results) -> Models:
        """Return the models of a benchmark, by title and by label."""
        places = results.color_indices()
        labels = {title: cells[0].label for title, cells in results.by_label().items()}
        for title, label in list(labels.items()):
            places.setdefault(label, places[title])
            labels.setdefault(label, label)
        return cls(places, labels)

    def named(self, names: Sequence[str]) -> Models:
        """Return the models of a chart; names that are none of these get places of their own."""
        if all(name in self.places for name in names):
            return self
        return Models(dict(zip(names, range(len(names)), strict=True)), dict.fromkeys(names, ""))

    @property
    def need_a_legend(self) -> bool:
        """True if the names are not those that the page lists."""
        return not any(self.labels.values())

    def color(self) -> alt.Color:
        """Return the colors of the field ``model``."""
        legend = alt.Legend(title=None) if self.need_a_legend else None
        colors = [css_color(place) for place in self.places.values()]
        return alt.Color("model:N", scale=self._scale(colors), legend=legend)

    def shape(self) -> alt.Shape:
        """Return the shapes of the field ``model``."""
        shapes = [series(place).shape for place in self.places.values()]
        return alt.Shape("model:N", scale=self._scale(shapes), legend=None)

    def dash(self) -> alt.StrokeDash:
        """Return the dashes of the field ``model``, which differ after four models."""
        dashes = [
            MODEL_DASHES[place // SERIES_PER_STYLE % len(MODEL_DASHES)]
            for place in self.places.values()
        ]
        return alt.StrokeDash("model:N", scale=self._scale(dashes), legend=None)

    def _scale(self, values: Sequence[Any]) -> alt.Scale:
        return alt.Scale(domain=list(self.places), range=list(values))


def data(rows: Sequence[Mapping[str, Any]]) -> alt.NamedData:
    """Return rows as the data of a layer.

    They travel as the name of the data, which `specification` replaces: Altair would copy and check
    every number many times.
    """
    return alt.NamedData(name=json.dumps(rows, allow_nan=False))


def y_axis(field: str, title: str, *, is_share: bool, fitted: bool = False) -> alt.Y:
    """Return the vertical axis, from 0 to 100 % for shares.

    Args:
        field: Field of the rows.
        title: Title.
        is_share: True for shares.
        fitted: True for an axis of shares that begins and ends with the marks.
    """
    if not is_share:
        return alt.Y(f"{field}:Q", title=title)
    if fitted:
        scale = alt.Scale(zero=False, padding=12)
        return alt.Y(f"{field}:Q", title=title, axis=alt.Axis(format=".3~%"), scale=scale)
    axis = alt.Axis(format=".0%", values=[0, 0.25, 0.5, 0.75, 1])
    return alt.Y(f"{field}:Q", title=title, axis=axis, scale=alt.Scale(domain=[0, 1]))


def tooltips(**titles: str) -> list[alt.Tooltip]:
    """Return the read-out of a mark: fields of its row, which hold text, with their titles."""
    return [alt.Tooltip(f"{field}:N", title=title) for field, title in titles.items()]


def specification(
    layers: Sequence[alt.Chart],
    *,
    height: int = HEIGHT,
    choices: Sequence[dict[str, Any]] = (),
) -> dict[str, Any]:
    """Return layers as a specification, as wide as the element that it is drawn into.

    The page sets its parameters: ``hidden``, labels of models that are not shown, and ``seeds``.

    Args:
        layers: The layers.
        height: Height in pixels.
        choices: Further parameters, which the reader sets.
    """
    chart = alt.layer(*layers).properties(width="container", height=height)
    content: dict[str, Any] = chart.to_dict(validate=False)
    for default in ("$schema", "config"):
        content.pop(default)
    names: dict[str, str] = {}  # by contents: layers of the same rows share them
    for layer in (content, *content["layer"]):
        if "data" in layer:
            rows = layer["data"]["name"]
            layer["data"] = {"name": names.setdefault(rows, f"rows{len(names)}")}
    content["datasets"] = {name: json.loads(rows) for rows, name in names.items()}
    content["autosize"] = {"type": "fit-x", "contains": "padding"}
    content["params"] = [
        {"name": "hidden", "value": []},
        {"name": "seeds", "value": True},
        *choices,
    ]
    return content
