"""Table of the differences of claims without each of the seeds."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import combinations
from statistics import fmean

from capsbench.reporting.comparisons.claims import JudgedClaim, JudgedTest
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

CAPTION = (
    "Differences of the primary tests, above 0 in favour of the claim, with all seeds, and the "
    "lowest and the highest one if one seed of both networks is left out. Where the range "
    "contains 0, or is far from the difference, a single seed decides. Verdicts do not use it."
)


def leave_one_out_table(judged: Sequence[JudgedClaim]) -> Table | None:
    """Return one row per primary test; None if no test has the same three seeds or more.

    Args:
        judged: The verdicts.
    """
    rows = tuple(row for each in judged for row in _rows(each))
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


def _rows(judged: JudgedClaim) -> Iterator[TableRow]:
    for test in judged.primary:
        if (differences := _differences(test)) is not None:
            whole, without = differences
            cells = (
                TableCell(difference_text(test.test, whole), number=whole),
                *(
                    TableCell(bare_difference(test.test, each), number=each)
                    for each in (min(without), max(without))
                ),
            )
            yield TableRow((judged.claim.claim, network_text(test.test), *cells))


def _differences(judged: JudgedTest) -> tuple[float, list[float]] | None:
    """Return the difference of the means, and those without each seed; None without pairs."""
    one, other = judged.values
    if len(one) != len(other) or len(one) < 3:
        return None
    sign = -1.0 if judged.test.lower_is_better else 1.0
    pairs = [sign * (a - b) for a, b in zip(one, other, strict=True)]
    return fmean(pairs), [fmean(left) for left in combinations(pairs, len(pairs) - 1)]
