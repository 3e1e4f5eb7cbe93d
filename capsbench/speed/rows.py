"""What is compared: rows of work, gathered in comparisons whose first row is the baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any, Literal

Precision = Literal["fp32", "bf16"]

# Does the work once. Where only a part of the call counts, it returns that part's seconds.
Work = Callable[[], float | None]


@dataclass(frozen=True)
class Row:
    """One way to do some work.

    Attributes:
        name: What sets it apart from the other rows of its comparison.
        prepare: Makes whatever the work needs, and returns the work.
        flops: Operations of the matrix products and convolutions that one unit of the work needs
            at least, 2 for each multiply-add; None where they are not what limits it.
        bytes: Bytes that one unit must read and write at least; None likewise.
        precision: Of the matrix products.
        units: How many units, such as batches, one call of the work does; times are per unit.
        counts_memory: Whether all memory that the work allocates is allocated by torch in this
            process.
        not_measured: Why this machine cannot do the work; None where it can.
    """

    name: str
    prepare: Callable[[], Work]
    flops: int | None = None
    bytes: int | None = None
    precision: Precision = "fp32"
    units: int = 1
    counts_memory: bool = True
    not_measured: str | None = None


@dataclass(frozen=True)
class Comparison:
    """Rows that do the same, measured side by side.

    Attributes:
        name: What they do.
        rows: The rows; the first is the baseline.
    """

    name: str
    rows: tuple[Row, ...]


@dataclass(frozen=True)
class Result:
    """What was measured of a row; times are in milliseconds for one unit of work.

    Attributes:
        group: The group of its comparison.
        comparison: The name of its comparison.
        row: The name of the row.
        baseline: `name` of the comparison's first row.
        precision: Of the matrix products.
        rounds: How often it was timed.
        median_ms: Median of its times.
        min_ms: The shortest time.
        p10_ms: The time below which a tenth of the times lie.
        p90_ms: The time below which nine tenths of the times lie.
        ratio: How many times as fast as the baseline: the baseline's time over its own, taken
            round by round; the median of that.
        ratio_p10: A tenth of the rounds had a lower ratio.
        ratio_p90: A tenth of the rounds had a higher ratio.
        peak_bytes: Most memory in use at one time during a call, beyond what was in use before.
        flops: As in `Row`.
        bytes: As in `Row`.
        percent_of_matmul: Its FLOPs per second, in per cent of the fastest matrix product.
        percent_of_copy: Its bytes per second, in per cent of a large copy's.
        not_measured: Why the numbers are missing; None where they are not.
    """

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

    @property
    def name(self) -> str:
        """Comparison and row: no other result has it."""
        return full_name(self.comparison, self.row)

    def facts(self) -> dict[str, Any]:
        """The result as JSON holds it."""
        return {"name": self.name, **asdict(self)}


def full_name(comparison: str, row: str) -> str:
    """The name of a row among the rows of all comparisons."""
    return f"{comparison}: {row}"
