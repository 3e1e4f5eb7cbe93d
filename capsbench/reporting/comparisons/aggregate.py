"""Queries of records by fields: numbers over seeds, with the mean, every seed and an interval."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from statistics import fmean

from capsbench.measures import load_measure
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.chance import seeds_at_chance
from capsbench.statistics.bounded import (
    DIFFERENCES_OF_SHARES,
    SHARES,
    bounded_t_interval,
    range_of_difference,
)
from capsbench.statistics.intervals import Interval, t_interval
from capsbench.values import Condition, Quantity, select

ACCURACY_BY_VIEW = "accuracy-by-view"
BOUNDS = {"share": SHARES, "difference of shares": DIFFERENCES_OF_SHARES}  # by unit
SHOWN_SEEDS = 50  # of a model, of which figures and tables show each one


@dataclass(frozen=True)
class SeedValues:
    """Values of one quantity of a model, one per seed.

    Attributes:
        values: Value by seed, in the order of the seeds; never empty. A model that was trained
            elsewhere has one value, under None.
        images: Numbers of test images behind the values; empty if they come from none.
        at_chance: Seeds among them whose networks are at chance, see
            `capsbench.reporting.comparisons.chance`.
        bounds: Lowest and highest possible value; None if there are none.
    """

    values: Mapping[int | None, float]
    images: frozenset[int] = frozenset()
    at_chance: tuple[int | None, ...] = ()
    bounds: Interval | None = None

    @property
    def n(self) -> int:
        """Number of seeds."""
        return len(self.values)

    @property
    def shown(self) -> list[float]:
        """Values that lists and figures show one by one: those of the first `SHOWN_SEEDS` seeds."""
        return list(islice(self.values.values(), SHOWN_SEEDS))

    @property
    def mean(self) -> float:
        """Arithmetic mean over seeds."""
        return fmean(self.values.values())

    @property
    def interval(self) -> Interval | None:
        """95 % t interval of the mean over seeds, inside of the bounds; None if undefined."""
        values = list(self.values.values())
        if self.bounds is None:
            return t_interval(values)
        return bounded_t_interval(values, self.bounds)


@dataclass(frozen=True)
class CurvePoint:
    """A metric over seeds at one view.

    Attributes:
        view: Value of the factor.
        familiar: True for a familiar view.
        seed_values: The numbers.
    """

    view: float
    familiar: bool
    seed_values: SeedValues


def collect(
    values: Iterable[tuple[int | None, float | None]], *, bounds: Interval | None = None
) -> SeedValues | None:
    """Collect pairs of a seed and its value.

    Args:
        values: The pairs.
        bounds: Lowest and highest possible value.

    Returns:
        The numbers without the pairs whose value is None; None if nothing is left.
    """
    known = {seed: value for seed, value in values if value is not None}
    in_order = sorted(known, key=lambda seed: (seed is None, seed))
    if not known:
        return None
    return SeedValues({seed: known[seed] for seed in in_order}, bounds=bounds)


def aggregate_seeds(
    cells: Sequence[CellResult], measure: str, quantity: Quantity
) -> SeedValues | None:
    """Collect one quantity of a measure over the seeds of a model; None if no seed has it."""
    records = [(cell.seed, record) for cell in cells if (record := cell.measures.get(measure))]
    seed_values = collect((seed, record.get(quantity)) for seed, record in records)
    counts = {record.num_images(quantity) for _, record in records}
    images = frozenset(count for count in counts if count)
    if seed_values is None:
        return None
    at_chance = seeds_at_chance(cell for cell in cells if cell.seed in seed_values.values)
    bounds = bounds_of(measure, quantity)
    return replace(seed_values, images=images, at_chance=at_chance, bounds=bounds)


def bounds_of(measure: str, quantity: Quantity) -> Interval | None:
    """Return the lowest and highest possible value of a quantity; None if there are none."""
    return BOUNDS.get(load_measure(measure).metrics[quantity.metric].unit)


def subtract_seeds(first: SeedValues | None, other: SeedValues | None) -> SeedValues | None:
    """Return the other numbers minus the first ones, over the seeds of both; None if none is."""
    if first is None or other is None:
        return None
    common = [seed for seed in other.values if seed in first.values]
    at_chance = {*first.at_chance, *other.at_chance}
    return (
        SeedValues(
            {seed: other.values[seed] - first.values[seed] for seed in common},
            at_chance=tuple(seed for seed in common if seed in at_chance),
            bounds=range_of_difference(other.bounds, first.bounds),
        )
        if common
        else None
    )


def quantities(
    cells: Sequence[CellResult], measure: str, **fields: Condition | None
) -> list[Quantity]:
    """Return the quantities of a measure that any seed has, in the order of the records.

    Those of networks before training are left out: `Quantity.of_untrained` is the control of each.

    Args:
        cells: The cells.
        measure: Name of the measure.
        fields: Fields or conditions that must match; None means absent.
    """
    records = [cell.measures[measure] for cell in cells if measure in cell.measures]
    matches = (value for record in records for value in select(record.values, **fields))
    trained = (value for value in matches if not value.is_untrained)
    return list({value.name: value.quantity for value in trained}.values())


def measures(cells: Sequence[CellResult]) -> list[str]:
    """Return the measures that any cell has a record of."""
    return list(dict.fromkeys(measure for cell in cells for measure in cell.measures))


def curve(
    cells: Sequence[CellResult],
    factor: str,
    *,
    measure: str = ACCURACY_BY_VIEW,
    metric: str = "accuracy",
) -> list[CurvePoint]:
    """Return a metric over the seeds of a model at every view of a factor, by the view."""
    points = [
        CurvePoint(quantity.view, quantity.split == "familiar", seed_values)
        for quantity in quantities(cells, measure, metric=metric, factor=factor, layer=None)
        if quantity.view is not None
        and (seed_values := aggregate_seeds(cells, measure, quantity)) is not None
    ]
    return sorted(points, key=lambda point: point.view)


def view_factors(
    results: Results, *, measure: str = ACCURACY_BY_VIEW, metric: str = "accuracy"
) -> list[str]:
    """Return the factors of which a metric has a curve, in the order of the records.

    There are none if the benchmark varies something: there would be a curve for each of its values.
    """
    if results.benchmark.vary:
        return []
    at_views = (
        quantity.factor
        for quantity in quantities(results.cells, measure, metric=metric, layer=None)
        if quantity.view is not None and quantity.factor is not None
    )
    return list(dict.fromkeys(at_views))
