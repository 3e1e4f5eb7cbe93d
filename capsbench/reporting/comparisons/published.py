"""Published numbers compared with measured ones, each with a verdict."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from capsbench.records import BenchmarkRecord, Results
from capsbench.records.benchmark import FULL
from capsbench.reporting.comparisons import matched
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds, subtract_seeds
from capsbench.schema import Benchmark, Published
from capsbench.schema.parts import pairs

PublishedVerdict = Literal[
    "reproduced",
    "not reproduced",
    "not decided",
    "never reached",
    "another size",
    "another data set",
    "not run",
]
DifferenceVerdict = Literal["confirmed", "reversed", "not decided", "never reached", "not run"]


@dataclass(frozen=True)
class Counterpart:
    """Measured counterpart of a published number.

    Attributes:
        seed_values: The measured numbers; None if there are none.
        seeds: Number of trained seeds of the model.
        needs_target: True if a seed must reach a target first (the matched rule).
    """

    seed_values: SeedValues | None
    seeds: int
    needs_target: bool

    @property
    def all_reached(self) -> bool:
        """True if the mean is over all seeds, not only over those that reached the target."""
        return not self.needs_target or (
            self.seed_values is not None and self.seed_values.n == self.seeds
        )

    @property
    def missing(self) -> Literal["never reached", "not run"]:
        """Reason why there is no number."""
        return "never reached" if self.needs_target and self.seeds else "not run"

    @property
    def note(self) -> str:
        """Remark after the number; empty if all seeds reached the target."""
        if self.seed_values is None or self.all_reached:
            return ""
        return f"; reached by {self.seed_values.n} of {self.seeds} seeds"


@dataclass(frozen=True)
class PublishedComparison:
    """A published number with its measured counterpart.

    Attributes:
        entry: The published number.
        counterpart: The measured one.
        verdict: Result of the comparison, see `verdict`.
    """

    entry: Published
    counterpart: Counterpart
    verdict: PublishedVerdict


@dataclass(frozen=True)
class PublishedDifference:
    """A published difference between two models with the measured one.

    Attributes:
        first: Published number of the first model.
        entry: Published number of the other model, from which the first is subtracted.
        seed_values: Measured differences, of each seed of both models.
        verdict: Result of the comparison.
        qualifier: Text after the verdict if the protocol has another size or data set.
    """

    first: Published
    entry: Published
    seed_values: SeedValues | None
    verdict: DifferenceVerdict
    qualifier: str

    @property
    def verdict_text(self) -> str:
        """The verdict with its qualifier."""
        return self.verdict if self.seed_values is None else self.verdict + self.qualifier


def compare_published(results: Results) -> list[PublishedComparison]:
    """Compare each published number of the benchmark with the measured one."""
    rows = []
    for entry in results.benchmark.published:
        counterpart = _counterpart(results, entry)
        rows.append(
            PublishedComparison(entry, counterpart, verdict(entry, counterpart, results.record))
        )
    return rows


def verdict(
    entry: Published, counterpart: Counterpart, record: BenchmarkRecord
) -> PublishedVerdict:
    """Return the verdict on a published number.

    It is reproduced if it lies, with its spread, in the 95 % interval of the measured mean. Nothing
    is decided without an interval, as below three seeds, nor if some seeds did not reach the target
    of the matched rule. At another size than that of the shipped protocol, or on another
    data set, the numbers are not the same quantity.
    """
    if counterpart.seed_values is None:
        return counterpart.missing
    if record.other_data:
        return "another data set"
    if record.size != FULL:
        return "another size"
    if counterpart.seed_values.interval is None or not counterpart.all_reached:
        return "not decided"
    low, high = counterpart.seed_values.interval
    spread = entry.spread or 0.0
    inside = low <= entry.value + spread and entry.value - spread <= high
    return "reproduced" if inside else "not reproduced"


def compared_pairs(benchmark: Benchmark) -> list[tuple[Published, Published]]:
    """Return the pairs of published numbers whose difference is compared with a measured one.

    Pairs that were published as equal within their spreads, or that the matched rule makes equal,
    are left out.
    """
    return [
        (first, entry)
        for first, entry in pairs(benchmark.published)
        if _differ(first, entry) and not _is_matched(benchmark, entry)
    ]


def compare_differences(results: Results) -> list[PublishedDifference]:
    """Compare each published difference of the benchmark with the measured one."""
    rows = []
    for first, entry in compared_pairs(results.benchmark):
        sides = _counterpart(results, first), _counterpart(results, entry)
        seed_values = subtract_seeds(sides[0].seed_values, sides[1].seed_values)
        verdict = _difference_verdict(first, entry, sides, seed_values)
        rows.append(
            PublishedDifference(first, entry, seed_values, verdict, _qualifier(results.record))
        )
    return rows


def _differ(first: Published, entry: Published) -> bool:
    """Return True if two published numbers differ by more than their spreads."""
    return abs(entry.value - first.value) > (first.spread or 0.0) + (entry.spread or 0.0)


def _is_matched(benchmark: Benchmark, entry: Published) -> bool:
    rule = benchmark.matched
    return rule is not None and entry.rule == "matched" and entry.quantity.split == rule.split


def _qualifier(record: BenchmarkRecord) -> str:
    size = "" if record.size == FULL else f", at this scale ({record.size})"
    return size + (f", on {record.benchmark.data.name}" if record.other_data else "")


def _difference_verdict(
    first: Published, entry: Published, sides: Sequence[Counterpart], seed_values: SeedValues | None
) -> DifferenceVerdict:
    if seed_values is None:
        reached = all(side.missing == "never reached" or side.seed_values for side in sides)
        return "never reached" if reached else "not run"
    limits = seed_values.interval
    if limits is None or limits[0] <= 0 <= limits[1] or not all(side.all_reached for side in sides):
        return "not decided"
    same = (seed_values.mean > 0) == (entry.value > first.value)
    return "confirmed" if same else "reversed"


def _counterpart(results: Results, entry: Published) -> Counterpart:
    cells = [c for c in results.cells if (c.label, c.point) == (entry.model, entry.at)]
    if entry.rule == "matched":
        seed_values = matched.matched_accuracy(results, cells, str(entry.quantity.split))
        return Counterpart(seed_values, len(matched.matches(results, cells)), needs_target=True)
    seed_values = aggregate_seeds(cells, entry.measure, entry.quantity)
    return Counterpart(seed_values, seed_values.n if seed_values else 0, needs_target=False)
