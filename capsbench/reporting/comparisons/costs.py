"""Accuracy against the cost of the networks: parameters, and operations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from capsbench.names import without_folder
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.scaling import (
    MIN_SIZES,
    READING,
    AccuracyCurves,
    accuracy_curves,
)
from capsbench.schema.parts import LABEL_SEPARATOR, point_text

TITLE = "Accuracy against parameters and operations"
COSTS = {"parameters": "parameters", "flops": "operations of one image (FLOPs)"}
MARKS = (
    "Each mark is one seed of a network; upright lines are 95 % t intervals of the mean, from "
    "three seeds."
)
UNCOUNTED = "its operations were not counted"

Groups = Mapping[str, Sequence[tuple[float, Sequence[CellResult]]]]


def cost_curves(results: Results) -> dict[str, list[AccuracyCurves]]:
    """Return every accuracy against each cost, by the attribute of a cell that holds the cost.

    Each model is a line of one point. If every network of the file comes in three sizes or more,
    each kind of network is a line. If the benchmark varies something, the first accuracy stands for
    all, once for each value or case.

    Returns:
        Empty if no two models differ in a cost. A cost that is not known of two models, or is the
        same for all, is left out.
    """
    group = _by_kind if _is_study_of_sizes(results) else _by_model
    costs: dict[str, list[AccuracyCurves]] = {}
    for cost in COSTS:
        groups = [group(results, cells, cost) for cells in _by_point(results).values()]
        if len({x for each in groups for points in each.values() for x, _ in points}) > 1:
            costs[cost] = _curves(results, groups)
    return {cost: curves for cost, curves in costs.items() if curves}


def cost_caption(results: Results) -> str:
    """Return the caption of `cost_figure`."""
    lines = f"Each kind of network is a line. {READING}" if _is_study_of_sizes(results) else MARKS
    return (
        f"{lines} A network above and to the left of another one is more accurate at less cost. "
        "Operations are those of convolutions and matrix products for one image, a multiply-add "
        "counted as two; element-wise ones, of which EM routing has many, are not counted."
    )


def cost_notes(results: Results) -> dict[str, tuple[str, ...]]:
    """Return a sentence for each model whose operations were not counted."""
    return {
        title: (UNCOUNTED,)
        for title, cells in results.by_label().items()
        if _cost(cells, "parameters") is not None and _cost(cells, "flops") is None
    }


def _is_study_of_sizes(results: Results) -> bool:
    """Check that every kind of network of the file comes in three sizes or more."""
    added = {entry.label for entry in results.record.changes.added}
    own = [entry.name for entry in results.benchmark.models if entry.label not in added]
    return not results.benchmark.vary and min(map(own.count, own)) >= MIN_SIZES


def _by_point(results: Results) -> dict[str, Mapping[str, list[CellResult]]]:
    """Return the cells by title, for each value or case in words; of nothing varied for ''."""
    vary = results.benchmark.vary
    if vary is None:
        return {"": results.by_label()}
    return {point_text(point): results.by_label(vary.position(point)) for point in vary.points}


def _by_model(_: Results, cells: Mapping[str, Sequence[CellResult]], cost: str) -> Groups:
    """Return each model as a line of one point; of none if its cost is not known."""
    return {
        title.partition(LABEL_SEPARATOR)[0]: [] if (x := _cost(each, cost)) is None else [(x, each)]
        for title, each in cells.items()
    }


def _by_kind(results: Results, cells: Mapping[str, Sequence[CellResult]], cost: str) -> Groups:
    """Return each kind of network as a line; a model without others of its kind by its label."""
    names = [entry.name for entry in results.benchmark.models]
    groups: dict[str, list[tuple[float, Sequence[CellResult]]]] = {}
    for title, each in cells.items():
        x, name = _cost(each, cost), each[0].reference.model
        if x is not None:
            kind = without_folder(name) if names.count(name) > 1 else title
            groups.setdefault(kind, []).append((x, each))
    return groups


def _cost(cells: Sequence[CellResult], cost: str) -> float | None:
    numbers = (getattr(cell, cost) for cell in cells)
    return next((float(number) for number in numbers if number is not None), None)


def _curves(results: Results, groups: Sequence[Groups]) -> list[AccuracyCurves]:
    if results.benchmark.vary is None:
        return accuracy_curves(groups[0])
    return [
        AccuracyCurves(f"{curve.title}, {text}", curve.lines)
        for text, each in zip(_by_point(results), groups, strict=True)
        for curve in accuracy_curves(each)[:1]
    ]
