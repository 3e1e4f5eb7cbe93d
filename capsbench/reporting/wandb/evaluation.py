"""The run of a measured cell under a benchmark, filled from its records."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

from capsbench.records import CellResult
from capsbench.reporting.comparisons.aggregate import ACCURACY_BY_VIEW
from capsbench.reporting.wandb.keys import STEP, quantity_key, view_key
from capsbench.reporting.wandb.run import Run
from capsbench.values import Value

VIEW_COLUMNS = ("factor", "view", "familiar", "metric", "accuracy", "images")


class Lines(NamedTuple):
    """Numbers against the views of one factor.

    Attributes:
        axis: Name of the x axis.
        rows: A row for each view, in rising order.
    """

    axis: str
    rows: list[dict[str, float]]

    @property
    def names(self) -> list[str]:
        """Names of the lines."""
        return [
            name for name in dict.fromkeys(n for row in self.rows for n in row) if name != self.axis
        ]


def fill_evaluation(run: Run, result: CellResult) -> None:
    """Log the curves, the numbers and the tables of a cell."""
    _log_trajectory(run, result)
    for lines in view_lines(result):
        run.define_axis(lines.axis, lines.names)
        for row in lines.rows:
            run.log(row)
    run.summarize(summary(result))
    columns, rows = values_table(result)
    run.log_table("values", columns, rows)
    if views := list(_view_rows(result)):
        run.log_table("accuracy_by_view", VIEW_COLUMNS, views)


def summary(result: CellResult) -> dict[str, Any]:
    """Return the outcome of the training, and every number that is not of a single view."""
    numbers: dict[str, Any] = {}
    if result.training is not None:
        numbers = {
            "status": result.training.status,
            "diverged_at": result.training.diverged_at,
            "training_seconds": result.training.seconds,
            "images_per_second": result.training.images_per_second,
        }
    for measure, record in result.measures.items():
        for value in record.values:
            if value.view is None:
                numbers.setdefault(quantity_key(measure, value.quantity), value.value)
    return {name: value for name, value in numbers.items() if value is not None}


def view_lines(result: CellResult) -> list[Lines]:
    """Return all numbers at single views, by the factor that varies."""
    factors: dict[str, dict[float, dict[str, float]]] = {}
    for measure, record in result.measures.items():
        for value in record.values:
            if value.view is not None and value.factor is not None:
                axis = view_key(value.factor)
                row = factors.setdefault(axis, {}).setdefault(value.view, {axis: value.view})
                row.setdefault(quantity_key(measure, value.quantity, at_view=True), value.value)
    return [Lines(axis, [rows[view] for view in sorted(rows)]) for axis, rows in factors.items()]


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


def _log_trajectory(run: Run, result: CellResult) -> None:
    """Log the validations, which the run of the training has too, so that a group is complete."""
    if not result.trajectory:
        return
    run.define_axis(STEP, [name for name in result.trajectory[0] if name != STEP])
    for row in result.trajectory:
        run.log(row)
