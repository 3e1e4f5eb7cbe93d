"""Accuracy against a varied value, or against the size of one network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    SeedValues,
    aggregate_seeds,
    quantities,
)
from capsbench.reporting.comparisons.joint_views import ACCURACY_BY_JOINT_VIEW
from capsbench.reporting.tables.split_table import MEASURES, METRICS, heading
from capsbench.schema import ModelEntry
from capsbench.values import MERGED_ACCURACY, Quantity

MIN_SIZES = 3  # two points are no curve
READING = (
    "Each mark is one seed, the line goes through the means, and upright lines are 95 % t "
    "intervals of the mean, from three seeds."
)
CASES_READING = (
    "Each mark is one seed, side by side for the models; upright lines are 95 % t intervals of the "
    "mean, from three seeds."
)
VARIED_TITLE = "Accuracy against the varied value"
SIZE_TITLE = "Accuracy against size"
SIZE_CAPTION = f"The models of the file are one network, apart from the numbers below. {READING}"

Point = tuple[float, SeedValues]


@dataclass(frozen=True)
class AccuracyCurves:
    """Curves of one accuracy.

    Attributes:
        title: Name of the accuracy.
        lines: Points of each line by its name, in the order of x.
    """

    title: str
    lines: Mapping[str, tuple[Point, ...]]


def varied_curves(results: Results) -> list[AccuracyCurves]:
    """Return accuracy against the varied value, one line per model; empty if nothing is varied."""
    vary = results.benchmark.vary
    if vary is None:
        return []
    groups = {
        label: [
            (
                vary.position(point),
                [c for c in results.cells if (c.label, c.point) == (label, point)],
            )
            for point in vary.points
        ]
        for label in dict.fromkeys(cell.label for cell in results.cells)
    }
    return accuracy_curves(groups)


def varied_caption(results: Results) -> str:
    """Return the caption of `varied_figure`."""
    vary = results.benchmark.vary
    if vary is None:
        return ""
    reading = READING if vary.cases is None else CASES_READING
    return f"On the axis: {vary.name}. All else is the same. {reading}"


def size_arguments(results: Results) -> dict[str, list[float]]:
    """Return the arguments that are a different number in each model of the file, by name.

    Returns:
        The numbers in the order of the models; empty unless three models or more are the same
        network with the same other arguments.
    """
    entries = _own_models(results)
    if len(entries) < MIN_SIZES or len({entry.name for entry in entries}) > 1:
        return {}
    sizes = {}
    for name in dict.fromkeys(name for entry in entries for name in entry.arguments):
        values = [entry.arguments.get(name) for entry in entries]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if len(set(numbers)) == len(entries):
            sizes[name] = numbers
        elif any(value != values[0] for value in values):
            return {}
    return sizes


def _own_models(results: Results) -> list[ModelEntry]:
    """Return the models of the benchmark's file, without those that were added."""
    added = {entry.label for entry in results.record.changes.added}
    return [entry for entry in results.benchmark.models if entry.label not in added]


def size_curves(results: Results) -> list[AccuracyCurves]:
    """Return accuracy against the first of `size_arguments`, a single line each."""
    sizes = size_arguments(results)
    if not sizes:
        return []
    by_label = results.by_label()
    labels = [entry.label for entry in _own_models(results)]
    numbers = next(iter(sizes.values()))
    group = [(x, by_label.get(label, [])) for x, label in zip(numbers, labels, strict=True)]
    return accuracy_curves({"": group})


def accuracy_curves(
    groups: Mapping[str, Sequence[tuple[float, Sequence[CellResult]]]],
) -> list[AccuracyCurves]:
    """Return the curves of every accuracy.

    Args:
        groups: Place on the axis and cells of each point, by the name of the line.
    """
    cells = [cell for group in groups.values() for _, each in group for cell in each]
    curves = []
    for measure, quantity in accuracies(cells):
        lines = {}
        for name, group in groups.items():
            points = [(x, aggregate_seeds(each, measure, quantity)) for x, each in group]
            lines[name] = tuple(sorted(((x, o) for x, o in points if o), key=lambda p: p[0]))
        curves.append(AccuracyCurves(heading(quantity), lines))
    return curves


def accuracies(cells: Sequence[CellResult]) -> list[tuple[str, Quantity]]:
    """Return the accuracies on splits, and at familiar and novel views, with their measures."""
    on_splits = [
        (measure, quantity)
        for measure in MEASURES
        for quantity in quantities(cells, measure)
        if quantity.metric in METRICS and quantity.metric != MERGED_ACCURACY
    ]
    at_views = [
        (measure, quantity)
        for measure in (ACCURACY_BY_VIEW, ACCURACY_BY_JOINT_VIEW)
        for quantity in quantities(cells, measure, metric="accuracy", factor=None)
        if quantity.split in ("familiar", "novel")
    ]
    return on_splits + at_views
