"""The answer of a benchmark in sentences: one for each headline, with interval and numbers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import isnan

from capsbench.measures import Headline, load_measure
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    CurvePoint,
    SeedValues,
    aggregate_seeds,
    curve,
    view_factors,
)
from capsbench.reporting.comparisons.chance import chance_text
from capsbench.reporting.comparisons.differences import ModelDifference
from capsbench.reporting.comparisons.joint_views import ACCURACY_BY_JOINT_VIEW
from capsbench.reporting.comparisons.scaling import accuracies
from capsbench.reporting.formatting import (
    FACTORS,
    NUMBER_FORMATS,
    counted,
    counted_range,
    interval_text,
    listed,
    points,
    share,
    view,
)
from capsbench.reporting.networks import family
from capsbench.reporting.tables.split_table import heading
from capsbench.schema.parts import LABEL_SEPARATOR, point_text
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL
from capsbench.statistics.paired_difference import Difference

CHOSEN = (
    "The interval of a mean is that of one model alone: it allows for neither the choice of the "
    "highest mean nor, where something is varied, that of the best case."
)
LEVEL = 0.75  # of accuracy: a sentence has the range of views that keep it


def answers(results: Results, differences: Sequence[ModelDifference]) -> list[str]:
    """Return a sentence or two for each headline.

    Headlines are the accuracies, and what measures declare (`Measure.headlines`). The best model
    is named, and its difference from the first one, with which a protocol compares all others. If
    that is the first one, the second best is compared. So is the best network with capsules, if it
    is another one. Of accuracy by view there is a sentence for each factor: between which views
    each model keeps a level. Of a benchmark that varies something, each sentence is on the value
    or case with the best number of all.

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
        else {
            vary.position(point): f" (best of {len(vary.points)}, {vary.name}: {point_text(point)})"
            for point in vary.points
        }
    )
    for measure, headline in _headlines(results):
        rankings = [
            (suffix, ranked, groups)
            for at, suffix in points_of.items()
            if (ranked := _ranked(groups := results.by_label(at), measure, headline))
        ]
        if rankings:
            sign = 1 if headline.lower_is_better else -1
            suffix, ranked, groups = min(
                rankings, key=lambda each: sign * next(iter(each[1].values())).mean
            )
            by_title = {
                each.title: each.difference
                for each in differences
                if (each.measure, each.quantity) == (measure, headline.quantity)
            }
            best = _best(ranked, measure, headline)
            yield f"{headline.words}{suffix}: {best}{_compared(ranked, groups, by_title)}"


def _ranked(
    groups: Mapping[str, Sequence[CellResult]], measure: str, headline: Headline
) -> dict[str, SeedValues]:
    """Return the numbers of the models that have any, the best one first."""
    numbers = {
        title: aggregate_seeds(cells, measure, headline.quantity) for title, cells in groups.items()
    }
    known = {title: each for title, each in numbers.items() if each is not None}
    sign = 1 if headline.lower_is_better else -1
    return dict(sorted(known.items(), key=lambda item: sign * item[1].mean))


def _headlines(results: Results) -> Iterator[tuple[str, Headline]]:
    """Yield the accuracies, and then the headlines of measures, each with its measure."""
    for measure, quantity in accuracies(results.cells):
        views = " views" if measure in (ACCURACY_BY_VIEW, ACCURACY_BY_JOINT_VIEW) else ""
        yield measure, Headline(quantity, f"{heading(quantity)}{views}")
    for measure in dict.fromkeys(config.measure for config in results.benchmark.measures):
        for headline in load_measure(measure).headlines:
            yield measure, headline


def _best(ranked: Mapping[str, SeedValues], measure: str, headline: Headline) -> str:
    """Return a sentence on the first of the ranked models."""
    best, values = next(iter(ranked.items()))
    text, bare = NUMBER_FORMATS[load_measure(measure).metrics[headline.quantity.metric].unit]
    facts = [f"95 % interval {interval_text(values.interval, bare)}"] if values.interval else []
    if None not in values.values:
        facts.append(counted(values.n, "seed"))
    if values.images:
        facts.append(counted_range(values.images, "image"))
    facts += [note] if (note := chance_text(values.at_chance)) else []
    extreme = "lowest" if headline.lower_is_better else "highest"
    rank = f"has the {extreme} mean of {len(ranked)} models," if len(ranked) > 1 else "is at"
    return f"{_name(best)} {rank} {text(values.mean)} ({'; '.join(facts)})."


def _compared(
    ranked: Mapping[str, SeedValues],
    groups: Mapping[str, Sequence[CellResult]],
    differences: Mapping[str, Difference],
) -> str:
    """Return a sentence for each model that is compared with the first one of the protocol."""
    first = next(iter(groups))
    others = [title for title in ranked if title != first]
    capsules = [t for t in others if family(groups[t][0].reference.model) == "capsules"]
    compared = dict.fromkeys([*others[:1], *capsules[:1]])
    at_chance = {title: chance_text(values.at_chance) for title, values in ranked.items()}
    return "".join(
        _difference(title, first, differences[title], at_chance)
        for title in compared
        if title in differences
    )


def _difference(
    title: str, first: str, difference: Difference, at_chance: Mapping[str, str]
) -> str:
    """Return a sentence on a difference from the first model, with the seeds at chance of both."""
    pair = f"{_name(title)} minus {_name(first)}: {points(difference.mean)}"
    notes = "".join(
        f"; {_name(each)}: {note}" for each in (title, first) if (note := at_chance.get(each))
    )
    if difference.interval is None:
        return f" {pair} (no interval: {_no_interval(difference)}{notes})."
    n = difference.comparisons
    corrected = f", corrected for {counted(n, 'comparison')}" if n > 1 else ""
    low, high = difference.interval
    verdict = "not shown to differ" if low <= 0 <= high else "shown"
    limits = interval_text(difference.interval, share)
    return f" {pair} (95 % interval {limits}{corrected}{notes}): {verdict}."


def _no_interval(difference: Difference) -> str:
    """Return the reason why a difference has no interval."""
    if min(difference.n_seeds) < SEEDS_FOR_INTERVAL:
        return "fewer than three seeds"
    if isnan(difference.standard_error):
        return "recorded before November 30, 2026, without a standard error"
    return "no outcome varies"


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
    """Return the measured views around the familiar ones at which a mean keeps `LEVEL`.

    If none is familiar, since another factor is never, they are those around the best view.
    """
    best = max(range(len(points_of)), key=lambda index: points_of[index].seed_values.mean)
    familiar = [index for index, point in enumerate(points_of) if point.familiar] or [best]
    low, high = familiar[0], familiar[-1]
    below = [point for point in points_of[low : high + 1] if point.seed_values.mean < LEVEL]
    if any(point.familiar for point in below):
        return "at not every familiar view"
    if below:
        return "at no view" if low == high else "at not every view between the familiar ones"
    while low > 0 and points_of[low - 1].seed_values.mean >= LEVEL:
        low -= 1
    while high < len(points_of) - 1 and points_of[high + 1].seed_values.mean >= LEVEL:
        high += 1
    first, last = (view(factor, points_of[index].view) for index in (low, high))
    return f"at {first} only" if first == last else f"from {first} to {last}"


def _name(title: str) -> str:
    """Return a title without the varied value, which the sentence begins with."""
    return title.partition(LABEL_SEPARATOR)[0]
