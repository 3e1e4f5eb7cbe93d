"""Rows of work and their results; the first row of a comparison is its baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from capsbench.records.record import RecordPart

Precision = Literal["fp32", "bf16"]

# A call does the work once. If only part of the call counts, it returns that part's seconds.
Work = Callable[[], float | None]


@dataclass(frozen=True)
class Row:
    """One implementation of some work.

    Attributes:
        name: Name, unique in the comparison.
        prepare: Makes the inputs of the work and returns the work.
        flops: Minimum operations of the matrix products and convolutions of one unit of the work,
            2 for each multiply-add; None if they are not its limit.
        bytes: Minimum bytes that one unit reads and writes; None if they are not its limit.
        precision: Precision of the matrix products.
        units: Units of work, such as batches, in one call; times are per unit.
        measures_memory: True if torch allocates all memory of the work in this process.
        not_measured: Reason why this machine cannot do the work; None if it can.
    """

    name: str
    prepare: Callable[[], Work]
    flops: int | None = None
    bytes: int | None = None
    precision: Precision = "fp32"
    units: int = 1
    measures_memory: bool = True
    not_measured: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Rows that do the same work.

    Attributes:
        name: Name of the work.
        rows: Rows; the first is the baseline.
        rounds: Number of rounds, if a work takes too long for the usual ones. Of such rows only the
            first, which must be the smallest, is called before: it imports and fills caches.
    """

    name: str
    rows: tuple[Row, ...]
    rounds: int | None = None


class RowResult(RecordPart):
    """Result of a row; times are in milliseconds per unit of work.

    Attributes:
        name: Comparison and row; unique among all results.
        group: Group of the comparison.
        comparison: Name of the comparison.
        row: Name of the row.
        baseline: ``name`` of the comparison's first row.
        precision: Precision of the matrix products.
        rounds: Number of timed rounds.
        median_ms: Median time.
        min_ms: Shortest time.
        p10_ms: 10th percentile of the times.
        p90_ms: 90th percentile of the times.
        ratio: Speedup over the baseline: median over the rounds of the baseline's time divided by
            the row's.
        ratio_p10: 10th percentile of the speedup over the rounds.
        ratio_p90: 90th percentile of the speedup over the rounds.
        peak_bytes: Peak memory of a call, beyond the memory in use before.
        flops: See `Row`.
        bytes: See `Row`.
        percent_of_matmul: FLOPs per second in per cent of the fastest matrix product.
        percent_of_copy: Bytes per second in per cent of a large copy.
        not_measured: Reason why there are no numbers; None if there are.
    """

    name: str
    group: str
    comparison: str
    row: str
    baseline: str
    precision: Precision
    rounds: int = 0
    median_ms: float | None = None
    min_ms: float | None = None
    p10_ms: float | None = None
    p90_ms: float | None = None
    ratio: float | None = None
    ratio_p10: float | None = None
    ratio_p90: float | None = None
    peak_bytes: int | None = None
    flops: int | None = None
    bytes: int | None = None
    percent_of_matmul: float | None = None
    percent_of_copy: float | None = None
    not_measured: str | None = None


def full_name(comparison: str, row: str) -> str:
    """Return the name of a row among the rows of all comparisons."""
    return f"{comparison}: {row}"
