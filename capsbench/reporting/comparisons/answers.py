"""The answer of a benchmark in sentences: one for each accuracy, with interval and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import (
    CurvePoint,
    SeedValues,
    aggregate_seeds,
    curve,
    view_factors,
)
from capsbench.reporting.comparisons.differences import ModelDifference
from capsbench.reporting.comparisons.scaling import accuracies
from capsbench.reporting.formatting import (
    FACTORS,
    counted,
    counted_range,
    listed,
    percent,
    points,
    share,
    view,
)
from capsbench.reporting.networks import family
from capsbench.reporting.tables.split_table import heading
from capsbench.schema.parts import LABEL_SEPARATOR, point_text
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL, Interval
from capsbench.statistics.paired_difference import Difference
from capsbench.values import Quantity

LEVEL = 0.75  # of accuracy: a sentence has the range of views that keep it


def answers(results: Results, differences: Sequence[ModelDifference]) -> list[str]:
    """Return a sentence or two for each accuracy; of a benchmark that varies something, by value.

    The model of the highest mean is named, and its difference from the first one, with which a
    protocol compares all others. If that is the first one, the second best is compared. So is the
    best network with capsules, if it is another one. Of accuracy by view there is a sentence for
    each factor: between which views each model keeps a level.

    Args:
        results: The records.
        differences: The differences between models, see `model_differences`.
    """
    return [*_answers(results, differences), *_kept_levels(results)]


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
                compared = _compared(known, groups, measure, quantity, differences)
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
    groups: Mapping[str, Sequence[CellResult]],
    measure: str,
    quantity: Quantity,
    differences: Sequence[ModelDifference],
) -> str:
    """Return a sentence for each model that is compared with the first one."""
    first = next(iter(groups))
    ranked = sorted(known, key=lambda title: -known[title].mean)
    others = [title for title in ranked if title != first]
    capsules = [t for t in others if family(groups[t][0].reference.model) == "capsules"]
    by_title = {
        each.title: each.difference
        for each in differences
        if (each.measure, each.quantity) == (measure, quantity)
    }
    compared = dict.fromkeys([*others[:1], *capsules[:1]])
    return "".join(
        _difference(title, first, by_title[title]) for title in compared if title in by_title
    )


def _difference(title: str, first: str, difference: Difference) -> str:
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


def _kept_levels(results: Results) -> Iterator[str]:
    """Yield a sentence for each factor: the views around the familiar ones that keep `LEVEL`."""
    for factor in view_factors(results):
        ranges: dict[str, list[str]] = {}
        for title, cells in results.by_label().items():
            if points_of := curve(cells, factor):
                ranges.setdefault(_kept(points_of, factor), []).append(title)
        everyone = "all models" if len(ranges) == 1 < len(results.by_label()) else ""
        parts = [f"{text} ({everyone or listed(titles)})" for text, titles in ranges.items()]
        yield (
            f"{FACTORS[factor]}: mean accuracy is at least {LEVEL:.0%} ".replace("%", " %")
            + "; ".join(parts)
            + "."
        )


def _kept(points_of: Sequence[CurvePoint], factor: str) -> str:
    """Return the measured views around the familiar ones at which a mean keeps `LEVEL`."""
    familiar = [index for index, point in enumerate(points_of) if point.familiar]
    low, high = (familiar[0], familiar[-1]) if familiar else (0, len(points_of) - 1)
    if any(point.seed_values.mean < LEVEL for point in points_of[low : high + 1]):
        return "not throughout the familiar range"
    while low > 0 and points_of[low - 1].seed_values.mean >= LEVEL:
        low -= 1
    while high < len(points_of) - 1 and points_of[high + 1].seed_values.mean >= LEVEL:
        high += 1
    first, last = (view(factor, points_of[index].view) for index in (low, high))
    return f"at {first} only" if first == last else f"from {first} to {last}"


def _name(title: str) -> str:
    """Return a title without the varied value, which the sentence begins with."""
    return title.partition(LABEL_SEPARATOR)[0]


def _between(interval: Interval) -> str:
    low, high = interval
    return f"{share(low)} to {share(high)}"
