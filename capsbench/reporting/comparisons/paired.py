"""Paired differences between two sides: B minus A, value by value and view by view."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from capsbench.errors import UserError
from capsbench.names import without_folder
from capsbench.records import CellResult, MeasureRecord
from capsbench.records.one_version import flattened
from capsbench.reporting.comparisons.aggregate import (
    aggregate_seeds,
    bounds_of,
    measures,
    quantities,
)
from capsbench.reporting.comparisons.per_image import ImageOutcomes, load_outcomes
from capsbench.reporting.comparisons.sides import Pair, Side
from capsbench.statistics.bounded import range_of_difference
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import (
    Difference,
    difference,
    difference_over_images,
    difference_over_seeds,
)
from capsbench.values import MERGED_ACCURACY, Quantity

OWN_ARGUMENTS = ("layers", "sources")  # of a measure, which may differ from model to model


@dataclass(frozen=True)
class PairedDifference:
    """Difference of one value between the models of a pair.

    Attributes:
        pair: The models.
        measure: Name of the measure.
        quantity: The value.
        a: Mean of the first side.
        b: Mean of the second side.
        difference: b minus a.
    """

    pair: Pair
    measure: str
    quantity: Quantity
    a: float
    b: float
    difference: Difference


class NotCompared(NamedTuple):
    """A measure that cannot be compared, and why."""

    title: str
    measure: str
    reason: str


@dataclass(frozen=True)
class PairedDifferences:
    """All differences between two sides.

    Attributes:
        values: Differences of values over splits and ranges of views, corrected together.
        views: Differences at single views, of one pair after the other, corrected for each pair.
        not_compared: Measures without differences.
    """

    values: list[PairedDifference]
    views: list[list[PairedDifference]]
    not_compared: list[NotCompared]


def paired_differences(a: Side, b: Side, pairs: Sequence[Pair]) -> PairedDifferences:
    """Compare every value that both models of a pair have, of the same images.

    Values with an outcome for each image are compared by Student's t over seeds and images; those
    of a measure without any, by the paired t test over seeds. Two cells are compared over images
    alone. Values of layers, and accuracies with alike classes as one, are left out, as on the page
    of a benchmark.

    Args:
        a: First side.
        b: Second side.
        pairs: The models.

    Raises:
        UserError: Nothing can be compared, or a record is damaged.
    """
    rows, skipped = list[list[PairedDifference]](), list[NotCompared]()
    for pair in pairs:
        rows.append([])
        for measure in dict.fromkeys((*measures(pair.a), *measures(pair.b))):
            try:
                rows[-1] += list(_of_measure(pair, measure, single=a.is_cell))
            except _OtherConditionsError as error:
                skipped.append(NotCompared(pair.title, without_folder(measure), str(error)))
    if not any(rows):
        reasons = [f"{each.measure}: {each.reason}" for each in skipped]
        reason = reasons[0] if reasons else "they have no measured value in common"
        raise UserError(f"{a.folder} and {b.folder} cannot be compared: {reason}")
    values = [row for own in rows for row in own if row.quantity.view is None]
    at_views = [[row for row in own if row.quantity.view is not None] for own in rows]
    return PairedDifferences(
        _corrected(values), [_corrected(own) for own in at_views if own], skipped
    )


class _OtherConditionsError(Exception):
    """Two records of a measure do not fit together; the message says why."""


def _corrected(rows: Sequence[PairedDifference]) -> list[PairedDifference]:
    adjusted = corrected([row.difference for row in rows])
    return [replace(row, difference=each) for row, each in zip(rows, adjusted, strict=True)]


def _of_measure(pair: Pair, measure: str, *, single: bool) -> Iterator[PairedDifference]:
    _require_same_conditions(pair, measure)
    first, second = (load_outcomes(cells, measure, at_views=True) for cells in (pair.a, pair.b))
    common = set(quantities(pair.b, measure))
    has_outcomes = any(q in second and q.view is None for q in first)
    for quantity in quantities(pair.a, measure):
        if quantity not in common or quantity.layer or quantity.metric == MERGED_ACCURACY:
            continue
        bounds = bounds_of(measure, quantity)
        limits = range_of_difference(bounds, bounds)
        if quantity in first and quantity in second:
            tables = first[quantity], second[quantity]
            each = _over_images(*tables, limits, single=single)
            means = tuple(float(outcomes.table.mean()) for outcomes in tables)
        elif quantity.view is not None or not has_outcomes:
            values = _by_seed(pair, measure, quantity, single=single)
            if values is None:
                continue
            each = difference_over_seeds(values[1], values[0], bounds=limits)
            means = tuple(float(np.mean(own)) for own in values)
        else:
            continue
        yield PairedDifference(pair, measure, quantity, means[0], means[1], each)


def _over_images(
    a: ImageOutcomes, b: ImageOutcomes, bounds: tuple[float, float] | None, *, single: bool
) -> Difference:
    if not np.array_equal(a.numbers, b.numbers):
        counts = f"{len(a.numbers):,} and {len(b.numbers):,}"
        raise _OtherConditionsError(f"other test images, {counts} of them")
    compare = difference_over_images if single else difference
    return compare(b.table, a.table, objects=a.objects, bounds=bounds)


def _by_seed(
    pair: Pair, measure: str, quantity: Quantity, *, single: bool
) -> tuple[list[float], list[float]] | None:
    """Return the values of both sides under the seeds of both; None if they have none in common."""
    a, b = (aggregate_seeds(cells, measure, quantity) for cells in (pair.a, pair.b))
    if a is None or b is None:
        return None
    if a.images != b.images:
        raise _OtherConditionsError("other numbers of test images")
    if single:
        return [a.mean], [b.mean]
    common = [seed for seed in a.values if seed in b.values]
    if not common:
        return None
    return [a.values[seed] for seed in common], [b.values[seed] for seed in common]


def _require_same_conditions(pair: Pair, measure: str) -> None:
    a, b = (_record(cells, measure) for cells in (pair.a, pair.b))
    if a is None or b is None:
        raise _OtherConditionsError(f"measured in {'B' if a is None else 'A'} alone")
    if a.revision != b.revision:
        raise _OtherConditionsError(f"revision {a.revision} in A and {b.revision} in B")
    one, other = (
        dict(flattened({k: v for k, v in each.arguments.items() if k not in OWN_ARGUMENTS}))
        for each in (a, b)
    )
    for place in dict.fromkeys((*one, *other)):
        values = one.get(place), other.get(place)
        if values[0] != values[1]:
            raise _OtherConditionsError(
                f"other views or settings, {place} is {values[0]} in A and {values[1]} in B"
            )


def _record(cells: Sequence[CellResult], measure: str) -> MeasureRecord | None:
    return next((c.measures[measure] for c in cells if measure in c.measures), None)
