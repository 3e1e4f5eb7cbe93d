"""Published numbers beside measured ones, each with a verdict."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from capsbench.reporting import matched
from capsbench.reporting.aggregate import OverSeeds, measured
from capsbench.reporting.plain_table import PlainTable
from capsbench.reporting.results import FULL, Cell, Results
from capsbench.reporting.tables import accuracy
from capsbench.reporting.wording import points, share
from capsbench.schema import Published

KNOWN_BY = {
    "read": "read in the source",
    "calculated": "calculated from the source",
    "read off a curve": "read by eye off a curve",
}
Verdict = Literal["reproduced", "not reproduced", "not decided", "another size", "not run"]
Appearance = Literal["appears", "reversed", "not decided", "not run"]


@dataclass(frozen=True)
class PublishedRow:
    """A published number with the measured one.

    Attributes:
        entry: The published number.
        over: The measured values; None where there are none.
        verdict: Whether the one lies in the interval of the other.
    """

    entry: Published
    over: OverSeeds | None
    verdict: Verdict


@dataclass(frozen=True)
class DifferenceRow:
    """A published difference between two models with the measured one.

    Attributes:
        first: The published number of the model that the other is compared with.
        entry: The published number of the other.
        over: The measured difference, other less first, of each seed of both.
        appearance: Whether the measured difference is of the same sign.
        at_scale: What is added where the protocol is of another size.
    """

    first: Published
    entry: Published
    over: OverSeeds | None
    appearance: Appearance
    at_scale: str

    @property
    def published(self) -> float:
        """The other less the first."""
        return self.entry.value - self.first.value

    @property
    def verdict(self) -> str:
        """The appearance, and the size at which it is seen."""
        return self.appearance if self.over is None else self.appearance + self.at_scale


def published(results: Results) -> list[PublishedRow]:
    """Each published number of the benchmark beside what was measured."""
    rows = []
    for entry in results.benchmark.published:
        over = _measured(results, entry)
        rows.append(PublishedRow(entry, over, verdict(entry, over, results.protocol.size)))
    return rows


def verdict(entry: Published, over: OverSeeds | None, size: str) -> Verdict:
    """Whether a published number, with its spread, meets the 95 % t interval of the measured mean.

    Below three seeds there is no interval, and nothing is decided. At another size than that of the
    shipped protocol it is another number.
    """
    if over is None:
        return "not run"
    if size != FULL:
        return "another size"
    if over.interval is None:
        return "not decided"
    low, high = over.interval
    spread = entry.spread or 0.0
    met = low <= entry.value + spread and entry.value - spread <= high
    return "reproduced" if met else "not reproduced"


def differences(results: Results) -> list[DifferenceRow]:
    """Each published number less the first one of the same quantity and source."""
    firsts: dict[tuple[object, ...], Published] = {}
    rows = []
    for entry in results.benchmark.published:
        first = firsts.setdefault(
            (entry.measure, entry.key, entry.rule, entry.at, entry.source), entry
        )
        if first is not entry:
            over = _difference(_measured(results, first), _measured(results, entry))
            appearance = _appearance(first, entry, over)
            rows.append(DifferenceRow(first, entry, over, appearance, results.protocol.at_scale))
    return rows


def _appearance(first: Published, entry: Published, over: OverSeeds | None) -> Appearance:
    if over is None:
        return "not run"
    limits = over.interval
    if limits is None or limits[0] <= 0 <= limits[1]:
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
                        _measured_text(row.over),
                        row.verdict,
                        row.entry.source,
                        row.entry.selected_on,
                        KNOWN_BY[row.entry.known_by],
                    )
                    for row in rows
                ),
                "Reproduced: the published number lies in the 95 % t interval of the measured mean "
                "over seeds (or its own ± reaches it). Below three seeds nothing is decided; at "
                "another size numbers stand side by side without a verdict."
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
                        _quantity(row.entry),
                        points(row.published),
                        _points_text(row.over),
                        row.verdict,
                        row.entry.source,
                    )
                    for row in compared
                ),
                "A published difference appears if the 95 % t interval of the measured one, seed "
                "by seed, lies on the same side of zero, and is reversed if it lies on the other."
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


def _measured_text(over: OverSeeds | None) -> str:
    found = accuracy(over)
    return found.text if found else "–"


def _points_text(over: OverSeeds | None) -> str:
    if over is None:
        return "–"
    limits = over.interval
    text = f"95 % interval {share(limits[0])} to {share(limits[1])}; " if limits else ""
    return f"{points(over.mean)} ({text}n = {over.n})"


def _cells(results: Results, entry: Published) -> list[Cell]:
    return [c for c in results.cells if (c.label, c.at) == (entry.model, entry.at)]


def _measured(results: Results, entry: Published) -> OverSeeds | None:
    cells = _cells(results, entry)
    if entry.rule == "matched":
        return matched.matched_accuracy(results, cells, entry.key.partition("/")[0])
    return measured(cells, entry.key, measure=entry.measure)


def _difference(first: OverSeeds | None, other: OverSeeds | None) -> OverSeeds | None:
    if first is None or other is None:
        return None
    both = {
        seed: value - first.values[seed]
        for seed, value in other.values.items()
        if seed in first.values
    }
    return OverSeeds(both) if both else None
