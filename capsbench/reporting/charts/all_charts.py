"""All charts of a benchmark, with their captions."""

from __future__ import annotations

from collections.abc import Iterator

from capsbench.measures import (
    ConditionFigureSpec,
    HeatMapFigureSpec,
    LayerFigureSpec,
    ViewFigureSpec,
)
from capsbench.records import Results
from capsbench.reporting import captions
from capsbench.reporting.captions import Specified
from capsbench.reporting.charts.condition_charts import condition_charts
from capsbench.reporting.charts.heat_map_charts import heat_map_charts
from capsbench.reporting.charts.layer_charts import layer_charts
from capsbench.reporting.charts.scaling_charts import cost_charts, size_charts
from capsbench.reporting.charts.section import ChartSection, Panel
from capsbench.reporting.charts.view_chart import view_chart
from capsbench.reporting.comparisons.aggregate import view_factors
from capsbench.reporting.formatting import FACTORS


def measure_charts(results: Results) -> list[ChartSection]:
    """Return the charts of measures but accuracy by view, then accuracy against size and cost."""
    sections = []
    for each in captions.specified(results):
        if panels := list(_panels(results, each)):
            caption = captions.caption_of(results, each)
            sections.append(ChartSection(each.spec.name, caption, panels))
    for name, charts, caption_of in (
        ("size", size_charts, captions.size_caption),
        ("cost", cost_charts, captions.cost_caption),
    ):
        if panels := list(charts(results)):
            sections.append(ChartSection(name, caption_of(results), panels))
    return sections


def _panels(results: Results, specified: Specified) -> Iterator[Panel]:
    """Yield the charts of a figure by the kind of its specification."""
    name, measure, spec = specified
    match spec:
        case LayerFigureSpec():
            yield from layer_charts(results, name, spec)
        case ViewFigureSpec():
            for factor in view_factors(results, measure=name, metric=spec.metric):
                yield Panel(FACTORS[factor], view_chart(results, name, measure, spec, factor))
        case ConditionFigureSpec():
            yield from condition_charts(results, name, measure, spec)
        case HeatMapFigureSpec():
            yield from heat_map_charts(results, name, measure, spec)
        case _:
            raise TypeError(f"{name}: no chart can be made from a {type(spec).__name__}")
