"""The page: the contents of the template, collected from the records."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from capsbench.measures.accuracy_by_view import AccuracyByView
from capsbench.records import BenchmarkRecord, CellResult, Results
from capsbench.reporting import protocol
from capsbench.reporting.captions import describe_curves, varied_caption
from capsbench.reporting.charts.confusion_charts import confusion_charts
from capsbench.reporting.charts.section import ChartSection, Panel
from capsbench.reporting.charts.summary_chart import summary_charts
from capsbench.reporting.charts.training_charts import training_charts
from capsbench.reporting.charts.view_chart import view_chart
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW, SHOWN_SEEDS, view_factors
from capsbench.reporting.comparisons.answers import CHOSEN, answers
from capsbench.reporting.comparisons.confusions import ModelConfusions
from capsbench.reporting.comparisons.differences import ModelDifference
from capsbench.reporting.formatting import FACTORS, view
from capsbench.reporting.gallery import Gallery, gallery
from capsbench.reporting.inline import data_uri
from capsbench.reporting.networks import networks
from capsbench.reporting.provenance import versions
from capsbench.reporting.reproduction import record_links, reproduce
from capsbench.reporting.tables import render_html
from capsbench.reporting.tables.class_table import class_table
from capsbench.reporting.tables.further_table import further_table
from capsbench.reporting.tables.table import Table
from capsbench.reporting.tables.totals_table import totals_table
from capsbench.reporting.tables.view_tables import view_table
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL

EXAMPLE_CLASSES = 5


@dataclass(frozen=True)
class FactorSection:
    """Accuracy over the views of one factor: the chart, and the table behind it.

    ``images`` has the place of each view of the table in the gallery; it is empty without one.
    """

    panel: Panel
    description: str
    table: Table
    images: list[int]


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
class CellLine:
    """A cell with the command that repeats it, and links to its records."""

    cell: CellResult
    command: str
    records: Mapping[str, str]


@dataclass(frozen=True)
class ModelSection:
    """Records of one model: its numbers, and the cells of the first seeds, ``more`` left out.

    ``anchor`` is its place on the page.
    """

    title: str
    anchor: str
    color: int
    arguments: Mapping[str, Any]
    parameters: int | None
    command: str
    cells: list[CellLine]
    more: int
    values: Table | None
    curves: list[Panel]


def render(
    results: Results,
    tables: Sequence[Table],
    differences: Sequence[ModelDifference],
    sections: Sequence[ChartSection],
    confused: ModelConfusions | None,
) -> str:
    """Return the page as HTML.

    Args:
        results: The records.
        tables: The tables of the result, the summary first.
        differences: The differences between models.
        sections: The charts of measures.
        confused: The confusions of all models; None without predictions.
    """
    pictures = gallery(results)
    return render_html.render(
        "index.html.jinja",
        charts=True,
        benchmark=results.benchmark,
        record=results.record,
        networks=networks(results),
        terms=protocol.protocol_terms(results),
        answers=answers(results, differences),
        chosen=CHOSEN,
        answer_charts=summary_charts(results),
        varied=varied_caption(results).text,
        legend=_legend(results),
        summary=tables[0],
        tables=tables[1:],
        has_intervals=any(
            sum(cell.problem is None for cell in cells) >= SEEDS_FOR_INTERVAL
            for cells in results.by_label().values()
        ),
        factors=[_factor(results, factor, pictures) for factor in view_factors(results)],
        sections=sections,
        strips=_example_strips(results),
        example_classes=_example_classes(results),
        gallery=pictures,
        confusions=confusion_charts(confused) if confused else [],
        classes=class_table(confused, results.color_indices()) if confused else None,
        further=further_table(results),
        models={model.title: model for model in _models(results)},
        versions=versions(results),
        elsewhere=any(cell.trained_elsewhere for cell in results.cells),
    )


def _legend(results: Results) -> dict[str, int]:
    """Return the color index of each label that a chart can show."""
    places = results.color_indices()
    return {cells[0].label: places[title] for title, cells in results.by_label().items()}


def _factor(results: Results, factor: str, pictures: Gallery | None) -> FactorSection:
    (spec,) = AccuracyByView.figures
    chart = view_chart(results, ACCURACY_BY_VIEW, AccuracyByView, spec, factor)
    panel = Panel(FACTORS[factor], chart)
    table = view_table(results, factor)
    shown = [] if pictures is None else [each.label for each in pictures.views]
    labels = [f"{FACTORS[factor]} {row.contents()[0].text}" for row in table.rows]
    images = [shown.index(label) for label in labels if label in shown]
    in_gallery = images if len(images) == len(labels) else []
    return FactorSection(panel, describe_curves(results, factor), table, in_gallery)


def _example_strips(results: Results) -> list[ExampleStrip]:
    """Return the first image of some classes at every view of each factor."""
    examples, images = results.record.examples, results.examples
    if examples is None or images is None:
        return []
    shown = _first_of_each(examples.classes)
    strips: dict[str, ExampleStrip] = {}
    for each, column in zip(examples.views, images, strict=True):
        strip = strips.setdefault(each.factor, ExampleStrip(FACTORS[each.factor], []))
        label = view(each.factor, each.value)
        strip.columns.append(ExampleColumn(label, each.familiar, data_uri(column[shown])))
    return list(strips.values())


def _example_classes(results: Results) -> list[str]:
    examples = results.record.examples
    classes = [] if examples is None else examples.classes
    return [classes[place] for place in _first_of_each(classes)]


def _first_of_each(classes: Sequence[str]) -> list[int]:
    """Return the places of the first image of each of the first classes."""
    return [classes.index(name) for name in list(dict.fromkeys(classes))[:EXAMPLE_CLASSES]]


def _command(record: BenchmarkRecord, cell: CellResult) -> str:
    """Return the command of a model: of one that was trained elsewhere, that of its evaluation."""
    return cell.weights.command if cell.weights else reproduce(record, cell.label)


def _models(results: Results) -> Iterator[ModelSection]:
    color_indices = results.color_indices()
    for place, (title, cells) in enumerate(results.by_label().items()):
        curves = [] if results.benchmark.vary else training_charts(cells, color_indices[title])
        yield ModelSection(
            title=title,
            anchor=f"model-{place}",
            color=color_indices[title],
            arguments=next((c.arguments for c in cells if c.arguments), {}),
            parameters=next((c.parameters for c in cells if c.parameters is not None), None),
            command=_command(results.record, cells[0]),
            cells=[
                CellLine(cell, reproduce(results.record, cell.label, cell.seed), record_links(cell))
                for cell in cells[:SHOWN_SEEDS]
            ],
            more=len(cells[SHOWN_SEEDS:]),
            values=totals_table(cells),
            curves=list(curves),
        )
