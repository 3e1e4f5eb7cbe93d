"""Panels of reports and views: native plots of the runs of a benchmark, grouped by model."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any

import wandb_workspaces.reports.v2 as wr
from wandb_workspaces import expr

from capsbench.measures import (
    ConditionFigureSpec,
    HeatMapFigureSpec,
    LayerFigureSpec,
    ViewFigureSpec,
    load_measure,
)
from capsbench.records import Results
from capsbench.reporting.formatting import FACTORS
from capsbench.reporting.tables.quantity_text import quantity_text
from capsbench.reporting.wandb.evaluation import points, single_numbers
from capsbench.reporting.wandb.keys import CONDITION, LAYER, STEP, VIEW, key, quantity_key
from capsbench.reporting.wandb.run import JobType
from capsbench.values import Quantity, Value

NOVEL = Quantity(metric="accuracy", split="novel")
ACROSS, WIDTH, HEIGHT = 2, 12, 8  # panels in a row, and the size of each
FULL = ACROSS * WIDTH  # width of the page
MOST = 24  # panels of a measure
MOST_RUNS = 100  # that Weights & Biases draws in one plot
BY_LABEL = {
    "groupby": wr.Config("label"),
    "groupby_aggfunc": "mean",
    "groupby_rangefunc": "stddev",
    "max_runs_to_show": MOST_RUNS,
}


def headline(results: Results) -> str | None:
    """Return the name of the number by which models are ordered; None if nothing is measured.

    It is the accuracy at novel views of the first measure that has it, or else the first number.
    """
    number = _headline(results)
    return None if number is None else quantity_key(*number)


def _headline(results: Results) -> tuple[str, Quantity] | None:
    """Return the measure and the quantity of that number."""
    numbers = [
        (measure, value.quantity)
        for cell in results.cells
        for measure in cell.measures
        for value in single_numbers(cell, measure)
        if not value.is_untrained
    ]
    novel = [each for each in numbers if each[1] == NOVEL]
    return next(iter([*novel, *numbers]), None)


def runs_of(results: Results, job_type: JobType) -> expr.And:
    """Return the filter of the runs of one type; those of another scale are left out."""
    return expr.And(
        expr.Metric("Group") == results.benchmark.name,
        expr.Metric("JobType") == job_type,
        expr.Config("scale") == results.record.size,
    )


def line_panels(results: Results, measure: str) -> list[Any]:
    """Return line plots of a measure against conditions, layers and views, of those that it draws.

    A measure without figures has a plot of every number. Untrained controls have none.
    """
    drawn = _drawn_metrics(measure)
    lines = {
        (each.axis, each.name): each.value
        for cell in results.cells
        if measure in cell.measures
        for each in points(cell, measure)
        if not each.value.is_untrained and (not drawn or each.value.metric in drawn)
    }
    in_order = sorted(lines.items(), key=lambda line: line[0][0].startswith(VIEW))
    return _placed(
        wr.LinePlot(
            title=_line_title(axis, value),
            x=axis,
            y=[name],
            title_x=_axis_title(axis),
            title_y=value.metric.replace("_", " "),
            **BY_LABEL,
        )
        for (axis, name), value in in_order
    )


def _drawn_metrics(measure: str) -> set[str]:
    """Return the metrics that the figures of a measure draw."""
    metrics = set[str]()
    for spec in load_measure(measure).figures:
        match spec:
            case LayerFigureSpec():
                metrics |= {line.metric for line in spec.lines}
            case ConditionFigureSpec() | ViewFigureSpec() | HeatMapFigureSpec():
                metrics.add(spec.metric)
    return metrics


def number_panels(results: Results, measure: str) -> list[Any]:
    """Return a bar plot of each number of a measure that is no point of a line."""
    numbers = {
        quantity_key(measure, value.quantity): value
        for cell in results.cells
        if measure in cell.measures
        for value in single_numbers(cell, measure)
        if not value.is_untrained
    }
    return _placed(
        wr.BarPlot(
            title=_sentence(quantity_text(value.quantity)),
            metrics=[wr.SummaryMetric(name)],
            **BY_LABEL,
        )
        for name, value in numbers.items()
    )


def cost_panels(results: Results) -> list[Any]:
    """Return the headline against parameters and against the operations of one image."""
    number = _headline(results)
    if number is None:
        return []
    text, name = _sentence(quantity_text(number[1])), quantity_key(*number)
    costs = {"parameters": "parameters", "flops": "operations of one image"}
    return _placed(
        wr.ScatterPlot(
            title=f"{text} against {title}",
            x=wr.Config(cost),
            y=wr.SummaryMetric(name),
            log_x=True,
        )
        for cost, title in costs.items()
    )


def table_panels(names: Sequence[str]) -> list[Any]:
    """Return panels of tables that runs log, below one another and as wide as the page."""
    return [
        wr.WeavePanelSummaryTable(
            table_name=name, layout=wr.Layout(x=0, y=row * 2 * HEIGHT, w=FULL, h=2 * HEIGHT)
        )
        for row, name in enumerate(names)
    ]


def training_panels() -> list[Any]:
    """Return the validations of the trainings."""
    names = ("train_loss", "validation_loss", "validation_accuracy", "learning_rate")
    return _placed(
        wr.LinePlot(title=_title(name), x=STEP, y=[name], title_x="Step", **BY_LABEL)
        for name in names
    )


def _line_title(axis: str, value: Value) -> str:
    """Return the title of a line plot: the number, without the field along the axis."""
    fields = {"split": None, "view": None, "factor": None} if axis.startswith(VIEW) else {}
    if axis == LAYER:
        fields = {"layer": None}
    condition = {k: v for k, v in value.condition.items() if f"{CONDITION}{key(k)}" != axis}
    quantity = value.quantity.model_copy(update={**fields, "condition": condition})
    text = _sentence(quantity_text(quantity))
    against = "layer" if axis == LAYER else _axis_title(axis).lower()
    return f"{text}, by {against}" if "," in text else f"{text} by {against}"


def _title(name: str) -> str:
    return _sentence(name.replace("_", " "))


def _sentence(text: str) -> str:
    return text[:1].upper() + text[1:]


def _axis_title(axis: str) -> str:
    factor = axis.removeprefix(VIEW)
    return FACTORS[factor] if factor in FACTORS else _title(axis.removeprefix(CONDITION))


def _placed(panels: Iterator[Any]) -> list[Any]:
    """Return panels in rows; those beyond the first ones are left out."""
    placed = list(islice(panels, MOST))
    for place, panel in enumerate(placed):
        row, column = divmod(place, ACROSS)
        panel.layout = wr.Layout(x=column * WIDTH, y=row * HEIGHT, w=WIDTH, h=HEIGHT)
    return placed
