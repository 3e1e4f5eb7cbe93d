"""The run of a measured cell under a benchmark, filled from its records."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from capsbench.measures import ConditionFigureSpec, index_name, load_measure
from capsbench.records import CellResult
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.comparisons.confusions import confusions
from capsbench.reporting.comparisons.per_image import load_arrays
from capsbench.reporting.tables.drawing_table import RENDERING_ERROR
from capsbench.reporting.wandb.keys import CONDITION, LAYER, STEP, VIEW, key, line_key, quantity_key
from capsbench.reporting.wandb.run import Run
from capsbench.values import Value

CONFUSION_COLUMNS = ("factor", "view", "familiar", "class", "predicted", "images")
RENDERING_COLUMNS = ("views", "number", "image", "expected", "rendered", "rendering_error")
VIEW_COLUMNS = ("factor", "view", "familiar", "metric", "accuracy", "images")


class Point(NamedTuple):
    """A number as a point of a line.

    Attributes:
        axis: Name of the x axis.
        x: Place on it.
        name: Name of the line.
        value: The number.
    """

    axis: str
    x: float
    name: str
    value: Value


class Rendering(NamedTuple):
    """A test image as a model renders it.

    Attributes:
        views: Name of the range of views.
        number: Number of the image in its source.
        pictures: (3, C, H, W) uint8, the image, what is expected, and what is rendered.
        error: Mean squared difference of the last two, with pixels in [0, 1].
    """

    views: str
    number: int
    pictures: NDArray[np.uint8]
    error: float


def fill_evaluation(run: Run, result: CellResult) -> None:
    """Log the curves, the numbers and the tables of a cell."""
    _log_trajectory(run, result)
    _log_lines(run, result)
    run.summarize(summary(result))
    columns, rows = values_table(result)
    run.log_table("values", columns, rows)
    if views := list(_view_rows(result)):
        run.log_table("accuracy_by_view", VIEW_COLUMNS, views)
    if confused := list(confusion_rows(result)):
        run.log_table("confusion", CONFUSION_COLUMNS, confused)
    if rendered := list(renderings(result)):
        run.log_table("reconstructions", RENDERING_COLUMNS, _rendering_rows(rendered))


def summary(result: CellResult) -> dict[str, Any]:
    """Return the outcome of the training, and every number that is no point of a line."""
    numbers: dict[str, Any] = {}
    if result.training is not None:
        numbers = {
            "status": result.training.status,
            "diverged_at": result.training.diverged_at,
            "training_seconds": result.training.seconds,
            "images_per_second": result.training.images_per_second,
        }
    for measure in result.measures:
        for value in single_numbers(result, measure):
            numbers.setdefault(quantity_key(measure, value.quantity), value.value)
    return {name: value for name, value in numbers.items() if value is not None}


def points(result: CellResult, measure: str) -> Iterator[Point]:
    """Yield the numbers of a measure against views, layers, and conditions that its figures sweep.

    Args:
        result: The cell, which has a record of the measure.
        measure: Name of the measure.
    """
    values = result.measures[measure].values
    layers = list(dict.fromkeys(value.layer for value in values))
    for value in values:
        if (place := _place(measure, value)) is not None:
            axis, field = place
            x = layers.index(value.layer) if field == "layer" else value.fields[field]
            name = line_key(measure, value.quantity, field)
            yield Point(axis, float(x), name, value)


def single_numbers(result: CellResult, measure: str) -> list[Value]:
    """Return the numbers of a measure that are no point of a line."""
    values = result.measures[measure].values
    return [value for value in values if _place(measure, value) is None]


def _place(measure: str, value: Value) -> tuple[str, str] | None:
    """Return the x axis of a number and the field along it; None if it is no point of a line."""
    if value.view is not None and value.factor is not None:
        return f"{VIEW}{value.factor}", "view"
    if value.layer is not None:
        return LAYER, "layer"
    for name in _swept_conditions(measure):
        if isinstance(value.condition.get(name), float):
            return f"{CONDITION}{key(name)}", name
    return None


@cache
def _swept_conditions(measure: str) -> tuple[str, ...]:
    """Return the conditions on the horizontal axis of figures, such as the size of an attack."""
    figures = load_measure(measure).figures
    return tuple(each.condition for each in figures if isinstance(each, ConditionFigureSpec))


def values_table(result: CellResult) -> tuple[list[str], list[list[Any]]]:
    """Return columns and rows of all values, with their fields as in ``results.csv``."""
    records = list(result.measures.values())
    columns = ["measure", *Value.columns(value for each in records for value in each.values)]
    rows = [
        {"measure": record.measure, **value.row()} for record in records for value in record.values
    ]
    return columns, [[row.get(name) for name in columns] for row in rows]


def _view_rows(result: CellResult) -> Iterator[tuple[Any, ...]]:
    record = result.measures.get(ACCURACY_BY_VIEW)
    for value in [] if record is None else record.values:
        if value.view is not None:
            familiar = value.split == "familiar"
            yield value.factor, value.view, familiar, value.metric, value.value, value.n


def confusion_rows(result: CellResult) -> Iterator[tuple[Any, ...]]:
    """Yield the number of images of each class that are taken for a class, if there are any."""
    data = result.data
    matrices = None if data is None else confusions(result, data.num_classes)
    for value, counts in (
        [] if matrices is None else zip(matrices.views, matrices.counts, strict=True)
    ):
        for target, predicted in zip(*counts.nonzero(), strict=True):
            images = int(counts[target, predicted])
            familiar = value.split == "familiar"
            known = int(predicted) if predicted < counts.shape[0] else None
            yield value.factor, value.view, familiar, int(target), known, images


def renderings(result: CellResult) -> Iterator[Rendering]:
    """Yield some test images of each range of views, with what the model renders of each."""
    record = result.measures.get(RENDERING_ERROR)
    arrays = {} if record is None else load_arrays(result, RENDERING_ERROR)
    for error in [] if record is None else record.select(metric="rendering_error"):
        kept = f"renderings[split={error.split}]"
        if kept not in arrays:  # of a record of before
            continue
        places = arrays[f"rendered[split={error.split}]"]
        for place, pictures in zip(places, arrays[kept], strict=True):
            number, own = arrays[index_name()][place], arrays[error.name][place]
            yield Rendering(str(error.split), int(number), pictures, float(own))


def _rendering_rows(rendered: Sequence[Rendering]) -> Iterator[tuple[Any, ...]]:
    import wandb

    for each in rendered:
        pictures = [wandb.Image(image) for image in each.pictures.transpose(0, 2, 3, 1)]
        yield each.views, each.number, *pictures, each.error


def _log_lines(run: Run, result: CellResult) -> None:
    """Log a row for each place on each axis, which has the points of all lines there."""
    axes: dict[str, dict[float, dict[str, float]]] = {}
    for measure in result.measures:
        for axis, x, name, value in points(result, measure):
            axes.setdefault(axis, {}).setdefault(x, {}).setdefault(name, value.value)
    for axis, rows in axes.items():
        run.define_axis(axis, dict.fromkeys(name for row in rows.values() for name in row))
        for x in sorted(rows):
            run.log({axis: x, **rows[x]})


def _log_trajectory(run: Run, result: CellResult) -> None:
    """Log the validations, which the run of the training has too, so that a group is complete."""
    if not result.trajectory:
        return
    run.define_axis(STEP, [name for name in result.trajectory[0] if name != STEP])
    for row in result.trajectory:
        run.log(row)
