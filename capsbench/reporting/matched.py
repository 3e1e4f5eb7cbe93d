"""The matched rule: models compared at the look at which they are as good on test images.

It sees test labels, and says so wherever its numbers stand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from capsbench.reporting.aggregate import OverSeeds, over_seeds
from capsbench.reporting.plain_table import PlainTable
from capsbench.reporting.results import Cell, Results
from capsbench.reporting.tables import Entry, accuracy
from capsbench.reporting.formatting import percent
from capsbench.training.selection import Row, at_step, followed, matched

TITLE = "Matched on test images"
NEVER = "never reached"


@dataclass(frozen=True)
class Match:
    """One training under the rule.

    Attributes:
        seed: The training's seed.
        target: The accuracy that had to be reached.
        row: The trajectory's row at which it first was; None where it never was.
    """

    seed: int
    target: float
    row: Row | None


@dataclass(frozen=True)
class MatchedRow:
    """A model's line in the table.

    Attributes:
        title: The model.
        steps: Of each seed the step, or that the target was never reached.
        entries: The accuracy on each followed split there, over the seeds that reached the target.
        reached: How many seeds did.
        seeds: How many have been trained.
    """

    title: str
    steps: str
    entries: tuple[Entry | None, ...]
    reached: int
    seeds: int


def matches(results: Results, cells: Sequence[Cell]) -> list[Match]:
    """What the rule finds in the trainings of one model, where there is something to match."""
    rule = results.benchmark.matched
    found = []
    for cell in cells if rule else ():
        target = _target(results, cell)
        if rule is None or target is None or not _done(cell):
            continue
        if cell.label == rule.to:
            found.append(Match(cell.seed, target, _selected(results, cell)))
            continue
        step = matched(cell.trajectory, rule.split, target)
        row = None if step is None else at_step(cell.trajectory, step)
        found.append(Match(cell.seed, target, row))
    return found


def matched_accuracy(results: Results, cells: Sequence[Cell], split: str) -> OverSeeds | None:
    """The accuracy on a followed split at the matched look, over the seeds that reached it."""
    return over_seeds(
        (match.seed, match.row[followed(split)])
        for match in matches(results, cells)
        if match.row is not None
    )


def matched_table(results: Results) -> list[MatchedRow]:
    """One row per model, as far as trained; none where the benchmark has no such rule."""
    rows = []
    for title, cells in results.by_label().items():
        found = matches(results, cells)
        if not found:
            continue
        splits = results.benchmark.follow
        rows.append(
            MatchedRow(
                title=title,
                steps=", ".join(f"{m.row['step']:,.0f}" if m.row else NEVER for m in found),
                entries=tuple(accuracy(matched_accuracy(results, cells, each)) for each in splits),
                reached=sum(match.row is not None for match in found),
                seeds=len(found),
            )
        )
    return rows


def tables(results: Results) -> list[PlainTable]:
    """The table as text, if there is one."""
    rows = matched_table(results)
    if not rows:
        return []
    splits = tuple(split.capitalize() for split in results.benchmark.follow)
    return [
        PlainTable(
            "matched",
            TITLE,
            ("Model", "Step of each seed", *splits, "Reached"),
            tuple(
                (
                    row.title,
                    row.steps,
                    *(entry.text if entry else "–" for entry in row.entries),
                    f"{row.reached} of {row.seeds}",
                )
                for row in rows
            ),
            _caption(results),
            numbers=tuple(range(1, len(splits) + 3)),
        )
    ]


def _caption(results: Results) -> str:
    rule = results.benchmark.matched
    assert rule is not None
    goal = (
        f"the accuracy that {rule.to} has, as selected on validation images, under the same seed"
        if isinstance(rule.to, str)
        else percent(rule.to)
    )
    every = results.benchmark.recipe.evaluate_every
    return (
        f"This rule sees test labels: it compares models at the first look (one every {every:,} "
        f"steps) at which the accuracy on {rule.split} test images reaches {goal}. The numbers "
        "are the trajectory's at that look. A model that never reaches it has none."
    )


def _target(results: Results, cell: Cell) -> float | None:
    rule = results.benchmark.matched
    if rule is None:
        return None
    if not isinstance(rule.to, str):
        return rule.to
    for other in results.cells:
        if (other.label, other.at, other.seed) == (rule.to, cell.at, cell.seed) and _done(other):
            return _selected(results, other)[followed(rule.split)]
    return None


def _done(cell: Cell) -> bool:
    return cell.training is not None and cell.training.status == "trained"


def _selected(results: Results, cell: Cell) -> Row:
    assert cell.training is not None
    return at_step(cell.trajectory, cell.training.selected[results.benchmark.selection].step)
