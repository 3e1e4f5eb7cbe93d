"""Summary of a benchmark: accuracy, training time and size of each model."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    SeedValues,
    aggregate_seeds,
    collect,
    quantities,
)
from capsbench.reporting.comparisons.chance import chance_text, seeds_at_chance
from capsbench.reporting.formatting import counted_range
from capsbench.reporting.tables.mean_cell import WITH_SEEDS, mean_cell
from capsbench.reporting.tables.split_table import MERGED_REASON, accuracy_columns
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.values import MERGED_ACCURACY, Quantity

SPLITS = ("familiar", "novel", "between", "outside")


def summary_table(results: Results) -> Table:
    """Return the table with one row per model, over its seeds.

    Columns of accuracy are present only if the benchmark measures accuracy by view. Novel views are
    split into those between trained values and those outside if there are any between. Accuracy at
    novel views with alike classes as one is shown beside the plain one.
    """
    accuracies = _accuracies(results)
    gap = ["Gap"] if accuracies else []
    groups, color_indices = results.by_label(), results.color_indices()
    problems = {
        title: ", ".join(_problem(cell) for cell in cells if cell.problem)
        for title, cells in groups.items()
    }
    return Table(
        name="summary",
        title="Result",
        columns=(
            *text_columns("Model"),
            *accuracy_columns((ACCURACY_BY_VIEW, each) for each in accuracies),
            *number_columns(*gap, "Training time", "Parameters", "Seeds"),
        ),
        rows=tuple(
            _row(title, cells, color_indices[title], accuracies) for title, cells in groups.items()
        ),
        caption=_caption(results, accuracies),
        notes=tuple(f"{title}: {text}" for title, text in problems.items() if text),
    )


def accuracy_on(cells: list[CellResult], split: str) -> SeedValues | None:
    """Return the accuracy at all views of a split over the seeds of a model."""
    return aggregate_seeds(cells, ACCURACY_BY_VIEW, Quantity(metric="accuracy", split=split))


def _accuracies(results: Results) -> list[Quantity]:
    """Return the accuracies of the columns; none if accuracy by view is not measured."""
    if not results.has_measure(ACCURACY_BY_VIEW):
        return []
    between = accuracy_on(list(results.cells), "between")
    familiar, *others = (
        Quantity(metric="accuracy", split=split) for split in SPLITS[: 4 if between else 2]
    )
    fields = {"metric": MERGED_ACCURACY, "split": "novel", "factor": None}
    merged = quantities(results.cells, ACCURACY_BY_VIEW, **fields)
    return [familiar, *others[:1], *merged, *others[1:]]


def _row(
    title: str, cells: list[CellResult], color_index: int, accuracies: Iterable[Quantity]
) -> TableRow:
    trainings = [(cell.seed, cell.training) for cell in cells if cell.training]
    numbers = [mean_cell(aggregate_seeds(cells, ACCURACY_BY_VIEW, each)) for each in accuracies]
    if numbers:
        gap = aggregate_seeds(cells, ACCURACY_BY_VIEW, Quantity(metric="gap"))
        numbers.append(mean_cell(gap, "difference of shares"))
    seconds = collect((seed, t.seconds) for seed, t in trainings if t.status == "trained")
    sizes = (cell.parameters for cell in cells)
    parameters = next((TableCell(f"{n:,}", number=n) for n in sizes if n is not None), None)
    measured = [cell for cell in cells if cell.problem is None]
    # Means of accuracy name such seeds themselves.
    remarks = [] if numbers else [chance_text(seeds_at_chance(measured))]
    remarks += [f"seed {seed}: {t.gradient_note}" for seed, t in trainings if t.gradient_note]
    seeds = (
        None
        if cells[0].trained_elsewhere
        else TableCell(f"{len(measured)} of {len(cells)}", note="; ".join(filter(None, remarks)))
    )
    return TableRow((title, *numbers, _time(seconds), parameters, seeds), color=color_index)


def _time(seconds: SeedValues | None) -> TableCell | None:
    """Return the mean training time without an interval: other work on the machine is no sample."""
    cell = mean_cell(seconds, "seconds")
    return None if cell is None else replace(cell, interval="", limits=None)


def _problem(cell: CellResult) -> str:
    return str(cell.problem) if cell.seed is None else f"seed {cell.seed} {cell.problem}"


def _caption(results: Results, accuracies: Sequence[Quantity]) -> str:
    if not accuracies:
        return f"Training time is the mean over seeds, {WITH_SEEDS}."
    records = [cell.measures.get(ACCURACY_BY_VIEW) for cell in results.cells]
    by_record = [
        counts
        for record in records
        if record is not None
        and (counts := {value.n for value in record.values if value.view is not None})
    ]
    ranges = sorted({(min(counts), max(counts)) for counts in by_record})
    images = " or ".join(counted_range(counts, "test image") for counts in ranges)
    text = (
        f"Accuracy{f' on {images} at each view' if images else ''}, as the mean over seeds "
        f"{WITH_SEEDS}. The gap is familiar minus novel, in percentage points. Familiar "
        "and novel accuracy are averaged over the views of each factor, then over the factors."
    )
    if any(low < high for low, high in ranges):
        text += " Each view has the same weight, whatever its number of images."
    if any(quantity.metric == MERGED_ACCURACY for quantity in accuracies):
        text += f" {MERGED_REASON}"
    if any(quantity.split == "between" for quantity in accuracies):
        text += " Novel views lie between the trained ones, or outside."
    return text
