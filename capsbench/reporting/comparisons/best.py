"""Best models: those of which none is shown to be less accurate than the one with the most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np

from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, bounds_of
from capsbench.reporting.comparisons.per_image import ImageOutcomes, load_outcomes
from capsbench.reporting.tables.table import Table, TableCell, TableRow
from capsbench.statistics.bounded import range_of_difference
from capsbench.statistics.correction import corrected
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL
from capsbench.statistics.paired_difference import (
    LEVEL,
    Difference,
    difference,
    difference_over_seeds,
)
from capsbench.values import Quantity

Cells = Sequence[CellResult]
Outcomes = Mapping[Quantity, ImageOutcomes]
BOLD = (
    "In bold: the highest mean of a column, and every mean that is not shown to be lower. With a "
    "confidence of 95 %, the best model is among them (multiple comparisons with the best, Hsu "
    "1984: Student's t over seeds and test images, Bonferroni within the column)."
)
AT_EACH = " A column is compared separately at each value that is varied."
TOO_FEW = f" Models with fewer than {SEEDS_FOR_INTERVAL} seeds are not compared: they show neither."


def mark_best(results: Results, table: Table) -> Table:
    """Return a table that marks the best models in columns of accuracies, with the rule below.

    A column has marks only if it compares two models or more, of three or more seeds each.

    Args:
        results: The records.
        table: A table with one row per model, headed by its title.
    """
    columns = {i: column.accuracy for i, column in enumerate(table.columns) if column.accuracy}
    groups = results.by_label()
    loaded = {
        measure: {title: load_outcomes(cells, measure) for title, cells in groups.items()}
        for measure in dict.fromkeys(measure for measure, _ in columns.values())
    }
    best: dict[int, set[str]] = {}
    for index, (measure, quantity) in columns.items():
        best[index] = set()
        for at in dict.fromkeys(cells[0].at for cells in groups.values()):
            compared = {t: c for t, c in groups.items() if c[0].at == at}
            best[index] |= _best_of(compared, measure, quantity, loaded[measure])
    if not any(best.values()):
        return table
    caption = f"{table.caption} {BOLD}"
    caption += AT_EACH if results.benchmark.vary else ""
    caption += TOO_FEW if any(map(_too_few, groups.values())) else ""
    rows = tuple(_marked(row, best) for row in table.rows)
    return replace(table, rows=rows, caption=caption.lstrip())


def _best_of(
    models: Mapping[str, Cells], measure: str, quantity: Quantity, loaded: Mapping[str, Outcomes]
) -> set[str]:
    """Return the titles of the models that are not shown to be less accurate than another one."""
    values = {
        title: seed_values
        for title, cells in models.items()
        if (seed_values := aggregate_seeds(cells, measure, quantity)) is not None
        and seed_values.n >= SEEDS_FOR_INTERVAL
    }
    if len(values) < 2:
        return set()
    top, *others = sorted(values, key=lambda title: -values[title].mean)
    bounds = bounds_of(measure, quantity)
    compare = partial(_compare, bounds=range_of_difference(bounds, bounds))
    differences = {}
    for title in others:
        tables = [loaded[each].get(quantity) for each in (top, title)]
        by_seed = [values[each].values for each in (top, title)]
        if (each := compare(tables, by_seed)) is not None:
            differences[title] = each
    adjusted = zip(differences, corrected([*differences.values()]), strict=True)
    lower = {title for title, each in adjusted if each.mean > 0 and each.p_corrected < LEVEL}
    return values.keys() - lower


def _compare(
    outcomes: Sequence[ImageOutcomes | None],
    by_seed: Sequence[Mapping[int | None, float]],
    bounds: tuple[float, float] | None,
) -> Difference | None:
    """Compare two models on the same images if both have outcomes, else by the seeds of both.

    Returns:
        None if they have no seed in common.
    """
    one, other = outcomes
    if one and other and np.array_equal(one.numbers, other.numbers):
        return difference(one.table, other.table, objects=one.objects, bounds=bounds)
    common = [seed for seed in by_seed[0] if seed in by_seed[1]]
    first, second = ([each[seed] for seed in common] for each in by_seed)
    return difference_over_seeds(first, second, bounds=bounds) if common else None


def _too_few(cells: Cells) -> bool:
    return sum(cell.problem is None for cell in cells) < SEEDS_FOR_INTERVAL


def _marked(row: TableRow, best: Mapping[int, set[str]]) -> TableRow:
    title = row.contents()[0].text
    return replace(
        row,
        cells=tuple(
            replace(cell, best=title in best.get(index, ()))
            if isinstance(cell, TableCell)
            else cell
            for index, cell in enumerate(row.cells)
        ),
    )
