"""All figures of a benchmark by the names of their files, with titles, captions and notes."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from matplotlib.figure import Figure

from capsbench.measures import (
    ConditionFigureSpec,
    FigureSpec,
    HeatMapFigureSpec,
    LayerFigureSpec,
    Measure,
    ViewFigureSpec,
    load_measure,
)
from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW, view_factors
from capsbench.reporting.figures import scaling_figures
from capsbench.reporting.figures.condition_figure import condition_figure
from capsbench.reporting.figures.cost_figure import TITLE, cost_caption, cost_figure, cost_notes
from capsbench.reporting.figures.heat_map import describe_heat_maps, heat_map_figure
from capsbench.reporting.figures.layer_figure import layer_figure
from capsbench.reporting.figures.training_figure import training_figure
from capsbench.reporting.figures.view_figure import accuracy_by_view, view_figure
from capsbench.reporting.formatting import counted_range
from capsbench.reporting.tables.split_table import ACCURACY_BY_SPLIT

UNTRAINED = (
    "Dotted lines and crosses are the same networks before training, with their initial weights: "
    "only the difference was learned."
)


@dataclass(frozen=True)
class CaptionedFigure:
    """A figure with its heading and caption.

    Attributes:
        figure: The figure.
        title: Heading.
        caption: What it shows, how to read it, the definition, the source.
        description: Text for screen readers.
        notes: Sentences by model on what was not measured, and why.
    """

    figure: Figure
    title: str
    caption: str
    description: str
    notes: Mapping[str, tuple[str, ...]]


def draw_figures(results: Results) -> dict[str, Figure]:
    """Draw accuracy by view and `measure_figures`, by the names of their files without ending."""
    figures = {ACCURACY_BY_VIEW: accuracy_by_view(results)}
    figures |= {name: each.figure for name, each in measure_figures(results).items()}
    return {name: figure for name, figure in figures.items() if figure is not None}


def accuracy_figures(results: Results) -> dict[str, Figure]:
    """Draw accuracy by view: all factors, and each factor alone."""
    figures = {ACCURACY_BY_VIEW: accuracy_by_view(results)}
    for factor in view_factors(results):
        figures[f"accuracy-{factor}"] = accuracy_by_view(results, [factor])
    return {name: figure for name, figure in figures.items() if figure is not None}


def training_figures(results: Results) -> dict[str, Figure]:
    """Draw the training of each model; none if the benchmark varies something."""
    groups = [] if results.benchmark.vary else list(results.by_label().values())
    figures = {
        f"training-{index}": training_figure(cells, index) for index, cells in enumerate(groups)
    }
    return {name: figure for name, figure in figures.items() if figure is not None}


def measure_figures(results: Results) -> dict[str, CaptionedFigure]:
    """Draw the figures of all measures but accuracy by view, and accuracy against size."""
    figures = {}
    for config in results.benchmark.measures:
        if config.measure != ACCURACY_BY_VIEW:
            measure = load_measure(config.measure)
            for spec in measure.figures:
                if (figure := _draw(results, config.measure, measure, spec)) is not None:
                    figures[spec.name] = CaptionedFigure(
                        figure,
                        spec.title,
                        _caption(results, config.measure, spec),
                        _describe(results, config.measure, measure, spec),
                        results.notes(config.measure),
                    )
    notes = results.notes(ACCURACY_BY_SPLIT)
    for name, scaling, title, caption in _scaling_figures(results):
        if scaling is not None:
            figures[name] = CaptionedFigure(scaling, title, caption, _described(title), notes)
    if (cost := cost_figure(results)) is not None:
        caption, notes = cost_caption(results), cost_notes(results)
        figures["cost"] = CaptionedFigure(cost, TITLE, caption, _described(TITLE), notes)
    return figures


def _draw(
    results: Results, name: str, measure: type[Measure[Any]], spec: FigureSpec
) -> Figure | None:
    """Draw a figure of a measure by the kind of its specification."""
    match spec:
        case LayerFigureSpec():
            return layer_figure(results, name, spec)
        case ViewFigureSpec():
            return view_figure(results, name, measure, spec)
        case ConditionFigureSpec():
            return condition_figure(results, name, measure, spec)
        case HeatMapFigureSpec():
            return heat_map_figure(results, name, measure, spec)
    raise TypeError(f"{name}: no figure can be drawn from a {type(spec).__name__}")


def _describe(results: Results, name: str, measure: type[Measure[Any]], spec: FigureSpec) -> str:
    """Return the text for screen readers of a figure of a measure."""
    if isinstance(spec, HeatMapFigureSpec):
        return describe_heat_maps(results, name, measure, spec)
    return _described(spec.title)


def _described(title: str) -> str:
    return f"{title}. The numbers are in results.csv."


def _caption(results: Results, name: str, spec: FigureSpec) -> str:
    """Return the caption of a figure, with its numbers of images, and the first model of maps."""
    metrics, at_views = _drawn_metrics(spec)
    counts = {
        value.n
        for cell in results.cells
        if name in cell.measures
        for value in cell.measures[name].values
        if value.metric in metrics and value.n and (value.view is not None or not at_views)
    }
    parts = [spec.caption]
    if counts:
        parts.append(f"Each value comes from {counted_range(counts, 'test image')}.")
    if isinstance(spec, LayerFigureSpec) and any(
        value.is_untrained and value.metric in metrics
        for cell in results.cells
        if name in cell.measures
        for value in cell.measures[name].values
    ):
        parts.append(UNTRAINED)
    if isinstance(spec, HeatMapFigureSpec):
        parts.append(f"The first model is {results.cells[0].label}.")
    return " ".join(parts)


def _drawn_metrics(spec: FigureSpec) -> tuple[set[str], bool]:
    """Return the metrics that a figure draws, and True if it draws those of single views only."""
    match spec:
        case LayerFigureSpec():
            return {line.metric for line in spec.lines}, False
        case ConditionFigureSpec():
            return {spec.metric, *(line.metric for line in spec.further_lines)}, False
        case ViewFigureSpec() | HeatMapFigureSpec():
            return {spec.metric}, True
    raise TypeError(f"no figure can be drawn from a {type(spec).__name__}")


def _scaling_figures(results: Results) -> Iterator[tuple[str, Figure | None, str, str]]:
    """Yield name, figure, title and caption."""
    yield (
        "size",
        scaling_figures.size_figure(results),
        scaling_figures.SIZE_TITLE,
        scaling_figures.SIZE_CAPTION,
    )
    yield (
        "varied",
        scaling_figures.varied_figure(results),
        scaling_figures.VARIED_TITLE,
        scaling_figures.varied_caption(results),
    )
