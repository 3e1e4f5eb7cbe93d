"""The answer of a benchmark in sentences: one for each accuracy, with interval and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from capsbench.records import Results
from capsbench.reporting.comparisons.aggregate import SeedValues, aggregate_seeds
from capsbench.reporting.comparisons.differences import ModelDifference
from capsbench.reporting.comparisons.scaling import accuracies
from capsbench.reporting.formatting import (
    counted,
    counted_range,
    percent,
    points,
    share,
)
from capsbench.reporting.tables.split_table import heading
from capsbench.schema.parts import LABEL_SEPARATOR, point_text
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL, Interval
from capsbench.values import Quantity


def answers(results: Results, differences: Sequence[ModelDifference]) -> list[str]:
    """Return a sentence or two for each accuracy; of a benchmark that varies something, by value.

    The most accurate model is named, and its difference from the first one, with which a protocol
    compares all others. If the first one is the most accurate, the second best is compared.

    Args:
        results: The records.
        differences: The differences between models, see `model_differences`.
    """
    return list(_answers(results, differences))


def _answers(results: Results, differences: Sequence[ModelDifference]) -> Iterator[str]:
    vary = results.benchmark.vary
    points_of = (
        {None: ""}
        if vary is None
        else {vary.position(point): f" ({vary.name}: {point_text(point)})" for point in vary.points}
    )
    for measure, quantity in accuracies(results.cells):
        for at, suffix in points_of.items():
            groups = results.by_label(at)
            numbers = {
                title: aggregate_seeds(cells, measure, quantity) for title, cells in groups.items()
            }
            known = {title: each for title, each in numbers.items() if each is not None}
            if known:
                place = f"{heading(quantity)}{suffix}"
                compared = _compared(known, next(iter(groups)), measure, quantity, differences)
                yield f"{place}: {_best(known)}{compared}"


def _best(known: dict[str, SeedValues]) -> str:
    """Return a sentence on the most accurate model."""
    best = max(known, key=lambda title: known[title].mean)
    values = known[best]
    facts = [f"95 % interval {_between(values.interval)}"] if values.interval else []
    if None not in values.values:
        facts.append(counted(values.n, "seed"))
    if values.images:
        facts.append(counted_range(values.images, "image"))
    rank = f"has the highest mean of {len(known)} models," if len(known) > 1 else "is at"
    return f"{_name(best)} {rank} {percent(values.mean)} ({'; '.join(facts)})."


def _compared(
    known: dict[str, SeedValues],
    first: str,
    measure: str,
    quantity: Quantity,
    differences: Sequence[ModelDifference],
) -> str:
    """Return a sentence on the best model and the first one; empty if they cannot be compared."""
    ranked = sorted(known, key=lambda title: -known[title].mean)
    title = next((each for each in ranked if each != first), None)
    found = [
        each.difference
        for each in differences
        if (each.title, each.measure, each.quantity) == (title, measure, quantity)
    ]
    if title is None or not found:
        return ""
    (difference,) = found
    pair = f"{_name(title)} minus {_name(first)}: {points(difference.mean)}"
    if difference.interval is None:
        few = min(difference.n_seeds) < SEEDS_FOR_INTERVAL
        reason = "fewer than three seeds" if few else "no outcome varies"
        return f" {pair} (no interval: {reason})."
    n = difference.comparisons
    corrected = f", corrected for {counted(n, 'comparison')}" if n > 1 else ""
    low, high = difference.interval
    verdict = "not shown to differ" if low <= 0 <= high else "shown"
    return f" {pair} (95 % interval {_between(difference.interval)}{corrected}): {verdict}."


def _name(title: str) -> str:
    """Return a title without the varied value, which the sentence begins with."""
    return title.partition(LABEL_SEPARATOR)[0]


def _between(interval: Interval) -> str:
    low, high = interval
    return f"{share(low)} to {share(high)}"
