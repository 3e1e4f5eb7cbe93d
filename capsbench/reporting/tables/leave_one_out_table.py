"""Table of the differences of claims without each of the seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import combinations
from statistics import fmean

from capsbench.records import CellResult
from capsbench.reporting.comparisons.claims import JudgedClaim, sides_of
from capsbench.reporting.comparisons.verdicts import without_margin
from capsbench.reporting.tables.claims_tables import (
    bare_difference,
    difference_text,
    network_text,
)
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.schema.claims import ClaimTest
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL

CAPTION = (
    "Differences of the primary tests, above 0 in favour of the claim, with all seeds, and the "
    "lowest and the highest one if one seed is left out of both networks. Verdicts do not use it."
)


def leave_one_out_table(
    judged: Sequence[JudgedClaim], parts: Mapping[str, Sequence[CellResult]]
) -> Table | None:
    """Return one row per primary test of which both networks have three common seeds or more.

    Args:
        judged: The verdicts.
        parts: Cells of each part.

    Returns:
        None if there is no such test.
    """
    rows = tuple(row for each in judged for row in _rows(each, parts))
    if not rows:
        return None
    return Table(
        name="leave-one-out",
        title="Without one seed",
        columns=(
            *text_columns("Claim", "Network"),
            *number_columns("Difference", "Lowest", "Highest"),
        ),
        rows=rows,
        caption=CAPTION,
    )


def _rows(judged: JudgedClaim, parts: Mapping[str, Sequence[CellResult]]) -> Iterator[TableRow]:
    for test in judged.primary:
        without = _without_one(parts[test.test.part], test.test)
        if without and test.difference is not None:
            mean = without_margin(test.difference, test.test.margin).mean
            limits = (min(without), max(without))
            cells = (
                TableCell(difference_text(test.test, mean), number=mean),
                *(TableCell(bare_difference(test.test, each), number=each) for each in limits),
            )
            yield TableRow((judged.claim.claim, network_text(test.test), *cells))


def _without_one(cells: Sequence[CellResult], test: ClaimTest) -> list[float]:
    """Return the differences without each common seed; empty if there are fewer than three."""
    one, other = sides_of(cells, test)
    if one is None or other is None:
        return []
    sign = -1.0 if test.lower_is_better else 1.0
    common = [seed for seed in one.values if seed in other.values]
    pairs = [sign * (one.values[seed] - other.values[seed]) for seed in common]
    if len(pairs) < SEEDS_FOR_INTERVAL:
        return []
    return [fmean(left) for left in combinations(pairs, len(pairs) - 1)]
