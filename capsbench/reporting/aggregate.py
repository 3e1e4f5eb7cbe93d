"""Numbers over seeds, in one place: the mean, every seed's value, an interval where honest."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean

from capsbench.reporting.results import ACCURACY_BY_VIEW, Cell
from capsbench.statistics.intervals import t_interval


@dataclass(frozen=True)
class OverSeeds:
    """One quantity over seeds.

    Attributes:
        values: Each seed's value, in the order of the seeds; never empty.
    """

    values: Mapping[int, float]

    @property
    def n(self) -> int:
        """How many seeds."""
        return len(self.values)

    @property
    def mean(self) -> float:
        """The arithmetic mean."""
        return fmean(self.values.values())

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % t interval of the mean over seeds; None below three."""
        return t_interval(list(self.values.values()))


@dataclass(frozen=True)
class CurvePoint:
    """Accuracy over seeds at one view."""

    value: float
    key: str
    familiar: bool
    accuracy: OverSeeds


def over_seeds(values: Iterable[tuple[int, float | None]]) -> OverSeeds | None:
    """Collect (seed, value) pairs; pairs without a value are left out, none at all give None."""
    known = {seed: value for seed, value in values if value is not None}
    return OverSeeds(dict(sorted(known.items()))) if known else None


def measured(
    cells: Sequence[Cell], key: str, *, measure: str = ACCURACY_BY_VIEW
) -> OverSeeds | None:
    """One of a measure's values over the seeds of a model."""
    found = ((cell.seed, cell.measurements.get(measure)) for cell in cells)
    return over_seeds((seed, outcome.values.get(key)) for seed, outcome in found if outcome)


def keys(cells: Sequence[Cell], *, measure: str = ACCURACY_BY_VIEW) -> list[str]:
    """The keys of a measure's values over all seeds, in the order of the record."""
    outcomes = (cell.measurements.get(measure) for cell in cells)
    return list(dict.fromkeys(key for outcome in outcomes if outcome for key in outcome.values))


def measures(cells: Sequence[Cell]) -> list[str]:
    """The measures that any seed has an outcome of."""
    return list(dict.fromkeys(measure for cell in cells for measure in cell.measurements))


def curve(cells: Sequence[Cell], factor: str) -> list[CurvePoint]:
    """Accuracy over the seeds of a model at every view of one factor, by the factor's value."""
    points: dict[tuple[float, str, bool], dict[int, float]] = {}
    for cell in sorted(cells, key=lambda cell: cell.seed):
        outcome = cell.measurements.get(ACCURACY_BY_VIEW)
        for view in outcome.views if outcome else ():
            if view.factor == factor:
                place = (view.value, view.key, view.familiar)
                points.setdefault(place, {})[cell.seed] = view.accuracy
    return [CurvePoint(*place, OverSeeds(values)) for place, values in sorted(points.items())]
