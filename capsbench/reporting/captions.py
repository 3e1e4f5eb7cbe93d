"""Titles, captions and descriptions of the charts and figures of a benchmark."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

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
from capsbench.reporting.comparisons import costs, scaling
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW, aggregate_seeds
from capsbench.reporting.comparisons.joint_views import joint_views
from capsbench.reporting.formatting import (
    AXES,
    FACTORS,
    NUMBER_FORMATS,
    counted_range,
    listed,
    percent,
    view,
)
from capsbench.reporting.tables.split_table import ACCURACY_BY_SPLIT
from capsbench.values import Quantity

UNTRAINED = (
    "Dotted lines are the same networks before training, with their initial weights: "
    "only the difference was learned."
)


@dataclass(frozen=True)
class Caption:
    """Texts of a chart or figure.

    Attributes:
        title: Heading.
        text: What it shows, how to read it, the definition, the source.
        description: Text for screen readers.
        notes: Sentences by model on what was not measured, and why.
    """

    title: str
    text: str
    description: str
    notes: Mapping[str, tuple[str, ...]]


class Specified(NamedTuple):
    """A figure that a measure specifies.

    Attributes:
        name: Name of the measure in the records.
        measure: The measure.
        spec: The specification.
    """

    name: str
    measure: type[Measure[Any]]
    spec: FigureSpec


def specified(results: Results) -> Iterator[Specified]:
    """Yield the figures that the measures of a benchmark specify, but accuracy by view."""
    for config in results.benchmark.measures:
        if config.measure != ACCURACY_BY_VIEW:
            measure = load_measure(config.measure)
            for spec in measure.figures:
                yield Specified(config.measure, measure, spec)


def caption_of(results: Results, figure: Specified) -> Caption:
    """Return the caption of a figure of which something was measured."""
    name, measure, spec = figure
    return Caption(
        spec.title,
        _caption(results, name, spec),
        _describe(results, name, measure, spec),
        results.notes(name),
    )


def size_caption(results: Results) -> Caption:
    """Return the caption of accuracy against size."""
    title, notes = scaling.SIZE_TITLE, results.notes(ACCURACY_BY_SPLIT)
    return Caption(title, scaling.SIZE_CAPTION, _described(title), notes)


def varied_caption(results: Results) -> Caption:
    """Return the caption of accuracy against what the benchmark varies."""
    title, notes = scaling.VARIED_TITLE, results.notes(ACCURACY_BY_SPLIT)
    return Caption(title, scaling.varied_caption(results), _described(title), notes)


def cost_caption(results: Results) -> Caption:
    """Return the caption of accuracy against cost."""
    text, notes = costs.cost_caption(results), costs.cost_notes(results)
    return Caption(costs.TITLE, text, _described(costs.TITLE), notes)


def describe_curves(results: Results, factor: str) -> str:
    """Describe accuracy over the views of a factor in words, for screen readers."""
    sentences = [f"Accuracy against {AXES[factor]}."]
    for title, cells in results.by_label().items():
        parts = []
        for split in ("familiar", "novel"):
            quantity = Quantity(metric="accuracy", split=split, factor=factor)
            if seed_values := aggregate_seeds(cells, ACCURACY_BY_VIEW, quantity):
                parts.append(f"{percent(seed_values.mean)} at {split} views")
        if parts:
            sentences.append(f"{title}: {listed(parts)}.")
    return " ".join(sentences)


def describe_heat_maps(
    results: Results, name: str, measure: type[Measure[Any]], spec: HeatMapFigureSpec
) -> str:
    """Describe the heat maps in words, for screen readers."""
    views = joint_views(results, name, spec.metric)
    assert views is not None
    text = NUMBER_FORMATS[measure.metrics[spec.metric].unit].text
    sentences = [f"{spec.title}: {listed([FACTORS[each].lower() for each in views.factors])}."]
    for title, cells in results.by_label().items():
        values = views.means(cells, name)
        if np.isnan(values).all():
            continue
        parts = []
        for split in ("familiar", "novel"):
            quantity = Quantity(metric=spec.metric, split=split)
            if seed_values := aggregate_seeds(cells, name, quantity):
                parts.append(f"{text(seed_values.mean)} at {split} views")
        row, column = np.unravel_index(np.nanargmin(values), values.shape)
        at = (views.first[row], views.second[column])
        place = " and ".join(
            f"{FACTORS[factor].lower()} {view(factor, value)}"
            for factor, value in zip(views.factors, at, strict=True)
        )
        parts.append(f"lowest {text(float(values[row, column]))} at {place}")
        sentences.append(f"{title}: {listed(parts)}.")
    return " ".join([*sentences, "The numbers are in results.csv."])


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
