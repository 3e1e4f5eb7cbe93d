"""All figures of a benchmark by the names of their files, with captions."""

from __future__ import annotations

from dataclasses import dataclass

from matplotlib.figure import Figure

from capsbench.measures import (
    ConditionFigureSpec,
    HeatMapFigureSpec,
    LayerFigureSpec,
    ViewFigureSpec,
)
from capsbench.records import Results
from capsbench.reporting import captions
from capsbench.reporting.captions import Caption, Specified
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW, view_factors
from capsbench.reporting.figures.condition_figure import condition_figure
from capsbench.reporting.figures.cost_figure import cost_figure
from capsbench.reporting.figures.heat_map import heat_map_figure
from capsbench.reporting.figures.layer_figure import layer_figure
from capsbench.reporting.figures.scaling_figures import size_figure, varied_figure
from capsbench.reporting.figures.training_figure import training_figure
from capsbench.reporting.figures.view_figure import accuracy_by_view, view_figure


@dataclass(frozen=True)
class CaptionedFigure:
    """A figure with its caption."""

    figure: Figure
    caption: Caption


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
    """Draw the figures of all measures but accuracy by view, and accuracy against size and cost."""
    figures = {}
    for each in captions.specified(results):
        if (figure := _draw(results, each)) is not None:
            figures[each.spec.name] = CaptionedFigure(figure, captions.caption_of(results, each))
    for name, draw, caption in (
        ("size", size_figure, captions.size_caption),
        ("varied", varied_figure, captions.varied_caption),
        ("cost", cost_figure, captions.cost_caption),
    ):
        if (figure := draw(results)) is not None:
            figures[name] = CaptionedFigure(figure, caption(results))
    return figures


def _draw(results: Results, specified: Specified) -> Figure | None:
    """Draw a figure of a measure by the kind of its specification."""
    name, measure, spec = specified
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
