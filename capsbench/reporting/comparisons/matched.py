"""The matched rule: models compared at the validation where they are equally good on test images.

It sees test labels, and every table with its numbers says so.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capsbench.files.atomic import Row
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import SeedValues, collect
from capsbench.reporting.formatting import percent
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.table import Table, TableRow, number_columns, text_columns
from capsbench.schema import Matched
from capsbench.statistics.bounded import SHARES
from capsbench.training.selection import accuracy_column, at_step, matched

NEVER = "never reached"


@dataclass(frozen=True)
class Match:
    """One training under the rule.

    Attributes:
        seed: Seed of the training.
        target: Accuracy to be reached.
        row: Row of the trajectory at which it is reached for the first time; None if never.
    """

    seed: int | None
    target: float
    row: Row | None


def matches(results: Results, cells: Sequence[CellResult]) -> list[Match]:
    """Apply the rule to the trainings of one model; those without a target are left out."""
    rule = results.benchmark.matched
    if rule is None:
        return []
    matches, targets = [], _targets(results, rule)
    for cell in cells:
        target = targets.get((cell.at, cell.seed)) if isinstance(rule.to, str) else rule.to
        if target is None or not _is_trained(cell):
            continue
        if cell.label == rule.to:
            row: Row | None = _selected(results, cell)
        else:
            step = matched(cell.trajectory, rule.split, target)
            row = None if step is None else at_step(cell.trajectory, step)
        matches.append(Match(cell.seed, target, row))
    return matches


def matched_accuracy(
    results: Results, cells: Sequence[CellResult], split: str
) -> SeedValues | None:
    """Return the accuracy on a followed split where it matches, over seeds with the target."""
    reached = [
        (match.seed, match.row[accuracy_column(split)])
        for match in matches(results, cells)
        if match.row is not None
    ]
    return collect(reached, bounds=SHARES)


def matched_table(results: Results) -> Table | None:
    """Return the table with one row per model; None if the benchmark has no such rule."""
    splits = results.benchmark.follow
    rows = []
    for title, cells in results.by_label().items():
        matching = matches(results, cells)
        if not matching:
            continue
        steps = ", ".join(f"{each.row['step']:,.0f}" if each.row else NEVER for each in matching)
        means = [mean_cell(matched_accuracy(results, cells, split)) for split in splits]
        reached = sum(each.row is not None for each in matching)
        rows.append(TableRow((title, steps, *means, f"{reached} of {len(matching)}")))
    if not rows:
        return None
    return Table(
        name="matched",
        title="Matched on test images",
        columns=(
            *text_columns("Model"),
            *number_columns("Step of each seed", *map(str.capitalize, splits), "Reached"),
        ),
        rows=tuple(rows),
        caption=_caption(results),
    )


def _caption(results: Results) -> str:
    rule = results.benchmark.matched
    assert rule is not None
    goal = (
        f"the accuracy that {rule.to}, selected on validation images, has under the same seed"
        if isinstance(rule.to, str)
        else percent(rule.to)
    )
    every = results.benchmark.recipe.evaluate_every
    return (
        "This rule sees test labels. It compares models at the first validation (one every "
        f"{every:,} steps) at which the accuracy on {rule.split} test images reaches {goal}. The "
        "numbers are those of the trajectory there. A model that never reaches it has none."
    )


def _targets(results: Results, rule: Matched) -> dict[tuple[float | None, int | None], float]:
    """Return the accuracies of the model to be matched, by varied value and seed."""
    return {
        (cell.at, cell.seed): _selected(results, cell)[accuracy_column(rule.split)]
        for cell in results.cells
        if cell.label == rule.to and _is_trained(cell)
    }


def _is_trained(cell: CellResult) -> bool:
    return cell.training is not None and cell.training.status == "trained"


def _selected(results: Results, cell: CellResult) -> Row:
    assert cell.training is not None
    return at_step(cell.trajectory, cell.training.selected[results.benchmark.selection].step)
