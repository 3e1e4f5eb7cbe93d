"""Published numbers beside measured ones, each with a verdict."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from capsbench.reporting import matched
from capsbench.reporting.aggregate import OverSeeds, measured
from capsbench.reporting.plain_table import PlainTable
from capsbench.reporting.results import FULL, Cell, Protocol, Results
from capsbench.reporting.tables import accuracy
from capsbench.reporting.formatting import points, share
from capsbench.schema import Published
from capsbench.schema.parts import pairs

KNOWN_BY = {
    "read": "read in the source",
    "calculated": "calculated from the source",
    "read off a curve": "read by eye off a curve",
}
Verdict = Literal[
    "reproduced",
    "not reproduced",
    "not decided",
    "never reached",
    "another size",
    "another data set",
    "not run",
]
Appearance = Literal["appears", "reversed", "not decided", "never reached", "not run"]


@dataclass(frozen=True)
class Beside:
    """What was measured beside a published number.

    Attributes:
        over: The measured values; None where there are none.
        seeds: How many seeds of the model have been trained.
        asks: Whether a seed has to reach a target first (the matched rule).
    """

    over: OverSeeds | None
    seeds: int
    asks: bool

    @property
    def all_reached(self) -> bool:
        """Whether the mean is over all seeds, and not over those alone that reached the target."""
        return not self.asks or (self.over is not None and self.over.n == self.seeds)

    @property
    def missing(self) -> Literal["never reached", "not run"]:
        """Why there is no value."""
        return "never reached" if self.asks and self.seeds else "not run"

    @property
    def note(self) -> str:
        """What is said beside the value."""
        if self.over is None or self.all_reached:
            return ""
        return f"; reached by {self.over.n} of {self.seeds} seeds"


@dataclass(frozen=True)
class PublishedRow:
    """A published number with the measured one.

    Attributes:
        entry: The published number.
        beside: What was measured.
        verdict: Whether the one lies in the interval of the other.
    """

    entry: Published
    beside: Beside
    verdict: Verdict


@dataclass(frozen=True)
class DifferenceRow:
    """A published difference between two models with the measured one.

    Attributes:
        first: The published number of the model that the other is compared with.
        entry: The published number of the other.
        over: The measured difference, other less first, of each seed of both.
        appearance: Whether the measured difference is of the same sign.
        circumstances: What is added where the protocol is of another size, or on another set.
    """

    first: Published
    entry: Published
    over: OverSeeds | None
    appearance: Appearance
    circumstances: str

    @property
    def published(self) -> float:
        """The other less the first."""
        return self.entry.value - self.first.value

    @property
    def quantity(self) -> str:
        """What it is a difference of."""
        return _quantity(self.entry)

    @property
    def told(self) -> str:
        """The measured difference with its interval and n."""
        return _points_text(self.over)

    @property
    def verdict(self) -> str:
        """The appearance, and where it is seen."""
        return self.appearance if self.over is None else self.appearance + self.circumstances


def published(results: Results) -> list[PublishedRow]:
    """Each published number of the benchmark beside what was measured."""
    rows = []
    for entry in results.benchmark.published:
        beside = _beside(results, entry)
        rows.append(PublishedRow(entry, beside, verdict(entry, beside, results.protocol)))
    return rows


def verdict(entry: Published, beside: Beside, protocol: Protocol) -> Verdict:
    """Whether a published number, with its spread, meets the 95 % t interval of the measured mean.

    Below three seeds there is no interval, and nothing is decided; nor where some seeds did not
    reach what they were to be matched at. At another size than that of the shipped protocol, or on
    another set, it is another number.
    """
    if beside.over is None:
        return beside.missing
    if protocol.other_data:
        return "another data set"
    if protocol.size != FULL:
        return "another size"
    if beside.over.interval is None or not beside.all_reached:
        return "not decided"
    low, high = beside.over.interval
    spread = entry.spread or 0.0
    met = low <= entry.value + spread and entry.value - spread <= high
    return "reproduced" if met else "not reproduced"


def differences(results: Results) -> list[DifferenceRow]:
    """Each published number less those that it is to be compared with, of the same quantity.

    What the matched rule makes equal is not compared, nor what was published as equal.
    """
    rows = []
    for first, entry in pairs(results.benchmark.published):
        if first.value == entry.value or _is_matched(results, entry):
            continue
        sides = _beside(results, first), _beside(results, entry)
        over = _difference(sides[0].over, sides[1].over)
        appearance = _appearance(first, entry, sides, over)
        rows.append(DifferenceRow(first, entry, over, appearance, results.protocol.circumstances))
    return rows


def _is_matched(results: Results, entry: Published) -> bool:
    rule = results.benchmark.matched
    return rule is not None and entry.rule == "matched" and entry.key.startswith(f"{rule.split}/")


def _appearance(
    first: Published, entry: Published, sides: Sequence[Beside], over: OverSeeds | None
) -> Appearance:
    if over is None:
        reached = all(side.missing == "never reached" or side.over for side in sides)
        return "never reached" if reached else "not run"
    limits = over.interval
    undecided = limits is None or limits[0] <= 0 <= limits[1] or limits[0] == limits[1]
    if undecided or not all(side.all_reached for side in sides):
        return "not decided"
    same = (over.mean > 0) == (entry.value > first.value)
    return "appears" if same else "reversed"


def tables(results: Results) -> list[PlainTable]:
    """The two tables, as far as the benchmark has published numbers."""
    rows, compared = published(results), differences(results)
    found = []
    if rows:
        found.append(
            PlainTable(
                "published",
                "Published numbers",
                (
                    *("Model", "Quantity", "Published", "Measured here", "Verdict", "Source"),
                    *("Selected on", "Known by"),
                ),
                tuple(
                    (
                        _model(row.entry),
                        _quantity(row.entry),
                        f"{row.entry.printed} (= {_value(row.entry)})",
                        _measured_text(row.beside),
                        row.verdict,
                        row.entry.source,
                        row.entry.selected_on,
                        KNOWN_BY[row.entry.known_by],
                    )
                    for row in rows
                ),
                "Reproduced: the published number lies in the 95 % t interval of the measured mean "
                "over seeds (or its own ± reaches it). Below three seeds nothing is decided; at "
                "another size, or on another set, numbers stand side by side without a verdict."
                + _rule_note(row.entry for row in rows),
                numbers=(2, 3),
            )
        )
    if compared:
        found.append(
            PlainTable(
                "published-differences",
                "Published differences",
                ("Models", "Quantity", "Published", "Measured here", "Verdict", "Source"),
                tuple(
                    (
                        f"{_model(row.entry)} less {_model(row.first)}",
                        row.quantity,
                        points(row.published),
                        row.told,
                        row.verdict,
                        row.entry.source,
                    )
                    for row in compared
                ),
                "A published difference appears if the 95 % t interval of the measured one, seed "
                "by seed, lies on the same side of zero, and is reversed if it lies on the other. "
                "What was published as equal, or made equal by the matched rule, is not compared."
                + _rule_note(row.entry for row in compared),
                numbers=(2, 3),
            )
        )
    return found


def _rule_note(entries: Iterable[Published]) -> str:
    rules = {entry.rule for entry in entries}
    return " Rows marked matched come from a rule that sees test labels." * ("matched" in rules)


def _model(entry: Published) -> str:
    return entry.model if entry.at is None else f"{entry.model} at {entry.at:g}"


def _quantity(entry: Published) -> str:
    rule = ", matched" if entry.rule == "matched" else ""
    return f"{entry.measure}: {entry.key}{rule}"


def _value(entry: Published) -> str:
    spread = f" ± {100 * entry.spread:.2f}" if entry.spread else ""
    return f"{100 * entry.value:.2f}{spread} %"


def _measured_text(beside: Beside) -> str:
    found = accuracy(beside.over)
    return found.text + beside.note if found else "–"


def _points_text(over: OverSeeds | None) -> str:
    if over is None:
        return "–"
    limits = over.interval
    text = f"95 % interval {share(limits[0])} to {share(limits[1])}; " if limits else ""
    return f"{points(over.mean)} ({text}n = {over.n})"


def _cells(results: Results, entry: Published) -> list[Cell]:
    return [c for c in results.cells if (c.label, c.at) == (entry.model, entry.at)]


def _beside(results: Results, entry: Published) -> Beside:
    cells = _cells(results, entry)
    if entry.rule == "matched":
        over = matched.matched_accuracy(results, cells, entry.key.partition("/")[0])
        return Beside(over, len(matched.matches(results, cells)), asks=True)
    over = measured(cells, entry.key, measure=entry.measure)
    return Beside(over, over.n if over else 0, asks=False)


def _difference(first: OverSeeds | None, other: OverSeeds | None) -> OverSeeds | None:
    if first is None or other is None:
        return None
    both = {
        seed: value - first.values[seed]
        for seed, value in other.values.items()
        if seed in first.values
    }
    return OverSeeds(both) if both else None
