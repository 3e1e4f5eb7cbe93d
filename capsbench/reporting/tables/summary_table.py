"""Summary of a benchmark: accuracy, training time and size of each model."""

from __future__ import annotations

from collections.abc import Iterable

from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    SeedValues,
    aggregate_seeds,
    collect,
)
from capsbench.reporting.comparisons.chance import chance_text, seeds_at_chance
from capsbench.reporting.formatting import counted_range
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.values import Quantity

ACCURACIES = {"familiar": "Familiar", "novel": "Novel", "between": "Between", "outside": "Outside"}


def summary_table(results: Results) -> Table:
    """Return the table with one row per model, over its seeds.

    Columns of accuracy are present only if the benchmark measures accuracy by view. Novel views are
    split into those between trained values and those outside if there are any between.
    """
    splits = _splits(results)
    titles = [ACCURACIES[split] for split in splits] + (["Gap"] if splits else [])
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
            *number_columns(*titles, "Training time", "Parameters", "Seeds"),
        ),
        rows=tuple(
            _row(title, cells, color_indices[title], splits) for title, cells in groups.items()
        ),
        caption=_caption(results, splits),
        notes=tuple(f"{title}: {text}" for title, text in problems.items() if text),
    )


def accuracy_on(cells: list[CellResult], split: str) -> SeedValues | None:
    """Return the accuracy at all views of a split over the seeds of a model."""
    return aggregate_seeds(cells, ACCURACY_BY_VIEW, Quantity(metric="accuracy", split=split))


def _splits(results: Results) -> list[str]:
    if not results.has_measure(ACCURACY_BY_VIEW):
        return []
    between = accuracy_on(list(results.cells), "between")
    return list(ACCURACIES) if between else ["familiar", "novel"]


def _row(title: str, cells: list[CellResult], color_index: int, splits: Iterable[str]) -> TableRow:
    trainings = [(cell.seed, cell.training) for cell in cells if cell.training]
    numbers = [mean_cell(accuracy_on(cells, split)) for split in splits]
    if numbers:
        gap = aggregate_seeds(cells, ACCURACY_BY_VIEW, Quantity(metric="gap"))
        numbers.append(mean_cell(gap, "difference of shares"))
    seconds = collect((seed, t.seconds) for seed, t in trainings if t.status == "trained")
    parameters = next((f"{n:,}" for cell in cells if (n := cell.parameters) is not None), None)
    measured = [cell for cell in cells if cell.problem is None]
    # Means of accuracy name such seeds themselves.
    at_chance = "" if numbers else chance_text(seeds_at_chance(measured))
    seeds = (
        None
        if cells[0].trained_elsewhere
        else TableCell(f"{len(measured)} of {len(cells)}", note=at_chance)
    )
    return TableRow(
        (title, *numbers, mean_cell(seconds, "seconds"), parameters, seeds), color=color_index
    )


def _problem(cell: CellResult) -> str:
    return str(cell.problem) if cell.seed is None else f"seed {cell.seed} {cell.problem}"


def _caption(results: Results, splits: list[str]) -> str:
    if not splits:
        return "Training time is the mean over seeds, with the value of every seed."
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
        f"Accuracy{f' on {images} at each view' if images else ''}, as the mean over seeds with "
        "the value of every seed. The gap is familiar minus novel, in percentage points. Familiar "
        "and novel accuracy are averaged over the views of each factor, then over the factors."
    )
    if any(low < high for low, high in ranges):
        text += " Each view has the same weight, whatever its number of images."
    if "between" in splits:
        text += " Novel views lie between the trained ones, or outside."
    return text
