"""The page: the contents of the template, collected from the records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from capsbench.records import CellResult, Results
from capsbench.reporting import protocol
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    SHOWN_SEEDS,
    SeedValues,
    view_factors,
)
from capsbench.reporting.figures.all_figures import CaptionedFigure
from capsbench.reporting.figures.view_figure import describe_curves
from capsbench.reporting.formatting import FACTORS, percent, view
from capsbench.reporting.inline import data_uri, inline_svg
from capsbench.reporting.networks import networks
from capsbench.reporting.provenance import versions
from capsbench.reporting.tables import render_html
from capsbench.reporting.tables.summary_table import accuracy_on
from capsbench.reporting.tables.table import Table
from capsbench.reporting.tables.totals_table import totals_table
from capsbench.reporting.tables.view_tables import view_table
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL

REM_PER_INCH = 6


@dataclass(frozen=True)
class StripChart:
    """Small chart of a model's familiar and novel accuracy in the summary.

    Attributes:
        title: Title of the model.
        color: Place of the model in the list of models, for its color.
        familiar: Accuracy at familiar views.
        novel: Accuracy at novel views.
    """

    title: str
    color: int
    familiar: SeedValues | None
    novel: SeedValues | None

    @property
    def description(self) -> str:
        """Text for screen readers."""
        familiar, novel = (
            percent(seed_values.mean) if seed_values else "no number"
            for seed_values in (self.familiar, self.novel)
        )
        return f"{self.title}: {familiar} at familiar views, {novel} at novel views"


@dataclass(frozen=True)
class FactorSection:
    """Accuracy over the views of one factor: the figure, and the table behind it."""

    title: str
    svg: Markup
    table: Table


@dataclass(frozen=True)
class FigureSection:
    """A figure of a measure with its caption; ``width`` is its largest width in rem."""

    title: str
    width: float
    svg: Markup
    caption: str
    notes: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class ExampleColumn:
    """The example images at one view, in one column."""

    label: str
    familiar: bool
    source: str


@dataclass(frozen=True)
class ExampleStrip:
    """The example images at every view of one factor."""

    title: str
    columns: list[ExampleColumn]


@dataclass(frozen=True)
class ModelSection:
    """Records of one model: its numbers, and the cells of the first seeds, ``more`` left out."""

    title: str
    color: int
    arguments: Mapping[str, Any]
    parameters: int | None
    cells: list[CellResult]
    more: int
    values: Table | None
    curves: Markup | None


def render(
    results: Results,
    tables: Sequence[Table],
    drawings: Mapping[str, bytes],
    measure_figures: Mapping[str, CaptionedFigure],
) -> str:
    """Return the page as HTML.

    Args:
        results: The records.
        tables: The tables of the result, the summary first.
        drawings: SVG files of all figures, by name.
        measure_figures: Captions of the figures of measures, by the same names.
    """
    data = results.data()
    return render_html.render(
        "index.html.jinja",
        benchmark=results.benchmark,
        record=results.record,
        networks=networks(results),
        terms=protocol.protocol_terms(results),
        summary=tables[0],
        charts=list(_strip_charts(results)),
        chance=1 / data.num_classes if data else None,
        tables=tables[1:],
        has_intervals=any(
            sum(cell.problem is None for cell in cells) >= SEEDS_FOR_INTERVAL
            for cells in results.by_label().values()
        ),
        factors=[_factor(results, factor, drawings) for factor in view_factors(results)],
        figures=[_figure(name, each, drawings[name]) for name, each in measure_figures.items()],
        strips=_example_strips(results),
        models=list(_models(results, drawings)),
        versions=versions(results),
        elsewhere=any(cell.trained_elsewhere for cell in results.cells),
    )


def _strip_charts(results: Results) -> Iterator[StripChart]:
    if results.has_measure(ACCURACY_BY_VIEW):
        color_indices = results.color_indices()
        for title, cells in results.by_label().items():
            familiar, novel = accuracy_on(cells, "familiar"), accuracy_on(cells, "novel")
            yield StripChart(title, color_indices[title], familiar, novel)


def _factor(results: Results, factor: str, drawings: Mapping[str, bytes]) -> FactorSection:
    svg = inline_svg(
        drawings[f"accuracy-{factor}"],
        prefix=factor,
        description=describe_curves(results, factor),
    )
    return FactorSection(FACTORS[factor], svg, view_table(results, factor))


def _figure(name: str, each: CaptionedFigure, drawing: bytes) -> FigureSection:
    svg = inline_svg(drawing, prefix=name, description=each.description)
    width = REM_PER_INCH * each.figure.get_figwidth()
    return FigureSection(each.title, width, svg, each.caption, each.notes)


def _example_strips(results: Results) -> list[ExampleStrip]:
    examples, images = results.record.examples, results.examples
    if examples is None or images is None:
        return []
    strips: dict[str, ExampleStrip] = {}
    for each, column in zip(examples.views, images, strict=True):
        strip = strips.setdefault(each.factor, ExampleStrip(FACTORS[each.factor], []))
        label = view(each.factor, each.value)
        strip.columns.append(ExampleColumn(label, each.familiar, data_uri(column)))
    return list(strips.values())


def _models(results: Results, drawings: Mapping[str, bytes]) -> Iterator[ModelSection]:
    color_indices = results.color_indices()
    for index, (title, cells) in enumerate(results.by_label().items()):
        name, curves = f"training-{index}", None
        if name in drawings:
            description = f"Loss and validation accuracy of {title} over its training."
            curves = inline_svg(drawings[name], prefix=name, description=description)
        yield ModelSection(
            title=title,
            color=color_indices[title],
            arguments=next((c.arguments for c in cells if c.arguments), {}),
            parameters=next((c.parameters for c in cells if c.parameters is not None), None),
            cells=cells[:SHOWN_SEEDS],
            more=len(cells[SHOWN_SEEDS:]),
            values=totals_table(cells),
            curves=curves,
        )
