"""The page: everything that the template shows, gathered, and the template filled in."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from capsbench.reporting import (
    differences,
    matched,
    protocol,
    published,
    search_table,
    tables,
    formatting,
)
from capsbench.reporting.aggregate import measured
from capsbench.reporting.differences import DifferenceRow
from capsbench.reporting.inline import data_uri, inline_svg
from capsbench.reporting.measure_figures import MeasureFigure
from capsbench.reporting.plain_table import PlainTable
from capsbench.reporting.results import ACCURACY_BY_VIEW, Cell, Results
from capsbench.reporting.split_table import TITLE as split_title
from capsbench.reporting.split_table import note as split_note
from capsbench.reporting.split_table import split_table
from capsbench.reporting.style import SERIES, series, variable

NUMBERS = "The numbers stand in results.csv."


@dataclass(frozen=True)
class Example:
    """The example images at one view, one below the other."""

    label: str
    familiar: bool
    source: str


@dataclass(frozen=True)
class Strip:
    """The example images at every view of one factor."""

    title: str
    examples: list[Example]


@dataclass(frozen=True)
class FactorFigure:
    """A factor's curves, with the numbers behind them."""

    factor: str
    title: str
    svg: Markup
    rows: list[tuple[str, bool, dict[str, tables.Entry | None]]]


@dataclass(frozen=True)
class Details:
    """Everything else that is known of one model."""

    label: str
    index: int
    arguments: Mapping[str, Any]
    parameters: int | None
    cells: list[Cell]
    totals: list[tuple[str, tables.Entry]]
    curves: Markup | None


@dataclass(frozen=True)
class Shown:
    """A figure of a measure with what is said of it; ``width`` is the most it takes, in rem."""

    title: str
    width: float
    svg: Markup
    caption: str
    notes: Mapping[str, tuple[str, ...]]


def render(
    results: Results,
    drawings: Mapping[str, bytes],
    measured: Mapping[str, MeasureFigure],
    compared: list[DifferenceRow],
) -> str:
    """The page as HTML.

    Args:
        results: What the records say.
        drawings: SVG files by name, of all figures.
        measured: What is said of the figures of measures, by the same names.
        compared: The differences between models.
    """
    environment = templates()
    style = environment.get_template("style.css").render(palette=SERIES)
    return environment.get_template("index.html.jinja").render(
        results=results,
        benchmark=results.benchmark,
        protocol=results.protocol,
        terms=protocol.in_words(results),
        rows=tables.summary(results),
        columns=tables.columns(results),
        caption=tables.caption(results),
        accuracy=results.asks(ACCURACY_BY_VIEW),
        splits=split_table(results),
        split_title=split_title,
        split_note=split_note(results),
        compared=compared,
        difference_title=differences.TITLE,
        difference_columns=differences.COLUMNS,
        difference_caption=differences.caption(results, compared),
        drawings=tables.drawings(results),
        drawing_columns=tables.DRAWING_COLUMNS,
        drawing_caption=tables.DRAWING_CAPTION,
        cannot_draw=tables.CANNOT_DRAW,
        plain_tables=plain_tables(results),
        factors=_factors(results, drawings),
        shown=[_shown(name, each, drawings[name]) for name, each in measured.items()],
        strips=_strips(results),
        details=_details(results, drawings),
        versions=versions(results),
        chance=_chance(results),
        series=series,
        variable=variable,
        style=Markup(style),
    )


def templates() -> Environment:
    """The templates of pages; all that is put into them is escaped."""
    environment = Environment(
        loader=PackageLoader("capsbench.reporting"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["duration"] = formatting.duration
    environment.filters["percent"] = formatting.percent
    return environment


def plain_tables(results: Results) -> list[PlainTable]:
    """The tables that are text alone: the matched rule, published numbers, the search."""
    return [
        *matched.tables(results),
        *published.tables(results),
        *search_table.tables(results),
    ]


def versions(results: Results) -> list[tuple[str, str]]:
    """The versions that trained and measured, each name once, several values listed."""
    found: dict[str, dict[str, None]] = {}
    for cell in results.cells:
        records = [cell.training, *cell.measurements.values()]
        for name, value in (item for r in records if r for item in r.versions.items()):
            found.setdefault(name, {})[value] = None
    return [(name, ", ".join(values)) for name, values in found.items()]


def _chance(results: Results) -> float | None:
    data = results.data()
    return 1 / data.num_classes if data else None


def _factors(results: Results, drawings: Mapping[str, bytes]) -> list[FactorFigure]:
    return [
        FactorFigure(
            factor,
            formatting.FACTORS[factor],
            inline_svg(
                drawings[f"accuracy-{factor}"],
                prefix=factor,
                description=describe(results, factor),
            ),
            [
                (formatting.view(factor, value), familiar, entries)
                for value, familiar, entries in tables.by_view(results, factor)
            ],
        )
        for factor in results.factors()
    ]


def describe(results: Results, factor: str) -> str:
    """A factor's curves in words, for those who do not see them."""
    found = []
    for label, cells in results.by_label().items():
        kinds = {
            kind: tables.accuracy(measured(cells, f"{factor}/{kind}/accuracy"))
            for kind in ("familiar", "novel")
        }
        parts = [f"{entry.mean} at {kind} views" for kind, entry in kinds.items() if entry]
        if parts:
            found.append(f"{label}: {formatting.listed(parts)}")
    head = f"Accuracy against {formatting.AXES[factor]}."
    return " ".join([head, *(f"{text}." for text in found)])


def _shown(name: str, each: MeasureFigure, drawing: bytes) -> Shown:
    svg = inline_svg(drawing, prefix=name, description=f"{each.title}. {NUMBERS}")
    return Shown(each.title, 6 * each.figure.get_figwidth(), svg, each.caption, each.notes)


def _strips(results: Results) -> list[Strip]:
    listed, images = results.protocol.examples, results.examples
    if listed is None or images is None:
        return []
    strips: dict[str, Strip] = {}
    for view, column in zip(listed.views, images, strict=True):
        strip = strips.setdefault(view.factor, Strip(formatting.FACTORS[view.factor], []))
        label = formatting.view(view.factor, view.value)
        strip.examples.append(Example(label, view.familiar, data_uri(column)))
    return list(strips.values())


def _details(results: Results, drawings: Mapping[str, bytes]) -> list[Details]:
    places = results.places()
    return [
        Details(
            label=label,
            index=places[label],
            arguments=next((c.config.model.arguments for c in cells if c.config), {}),
            parameters=next((c.training.parameters for c in cells if c.training), None),
            cells=cells,
            totals=tables.totals(cells),
            curves=inline_svg(
                drawings[name],
                prefix=name,
                description=f"Loss and validation accuracy of {label} over its training.",
            )
            if (name := f"training-{index}") in drawings
            else None,
        )
        for index, (label, cells) in enumerate(results.by_label().items())
    ]
