"""A metric over joint views: means over seeds, and views at which two models do not differ."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsbench.measures import HeatMapFigureSpec, index_name
from capsbench.measures._result import object_name
from capsbench.records import CellResult, Results
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, quantities
from capsbench.reporting.comparisons.per_image import load_arrays
from capsbench.statistics.intervals import SEEDS_FOR_INTERVAL
from capsbench.statistics.paired_difference import difference
from capsbench.values import Quantity

ACCURACY_BY_JOINT_VIEW = "accuracy-by-joint-view"
# Marks of a map have colors of their own: it looks the same on light and on dark paper.
DARK, LIGHT = "#161616", "#fdfdfd"
SMALLEST_LIMIT = 0.01  # of the scale of differences
Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class JointViews:
    """The joint views of a metric.

    Attributes:
        factors: Names of the first and of the second factor.
        first: A values of the first factor, rising.
        second: B values of the second factor, rising.
        quantities: The value of each view, in the order of the records.
    """

    factors: tuple[str, str]
    first: tuple[float, ...]
    second: tuple[float, ...]
    quantities: tuple[Quantity, ...]

    def place(self, quantity: Quantity) -> tuple[int, int]:
        """Return the row and the column of a value in an array (A, B)."""
        assert quantity.view is not None
        second = quantity.condition[self.factors[1]]
        return self.first.index(quantity.view), self.second.index(float(second))

    @property
    def familiar(self) -> Bools:
        """(A, B), True for the familiar views."""
        result = np.zeros((len(self.first), len(self.second)), dtype=bool)
        for quantity in self.quantities:
            result[self.place(quantity)] = quantity.split == "familiar"
        return result

    def means(self, cells: Sequence[CellResult], measure: str) -> Floats:
        """Return (A, B), the metric over the seeds of a model; NaN where there is none."""
        result = np.full((len(self.first), len(self.second)), np.nan)
        for quantity in self.quantities:
            if (seed_values := aggregate_seeds(cells, measure, quantity)) is not None:
                result[self.place(quantity)] = seed_values.mean
        return result


def joint_views(results: Results, measure: str, metric: str) -> JointViews | None:
    """Return the joint views of a metric; None if it has not been measured at any.

    There are none either if the benchmark varies something: there would be a map for each value.
    """
    if results.benchmark.vary:
        return None
    at_views = [q for q in quantities(results.cells, measure, metric=metric) if q.view is not None]
    if not at_views:
        return None
    (second,) = at_views[0].condition
    return JointViews(
        factors=(str(at_views[0].factor), second),
        first=tuple(sorted({q.view for q in at_views if q.view is not None})),
        second=tuple(sorted({float(q.condition[second]) for q in at_views})),
        quantities=tuple(at_views),
    )


def insignificant(
    views: JointViews,
    cells: Sequence[CellResult],
    first: Sequence[CellResult],
    measure: str,
    spec: HeatMapFigureSpec,
) -> Bools:
    """Return the views at which the interval of a difference does not exclude zero.

    The 95 % interval of the paired difference is that of the tables of differences, for one view.

    Args:
        views: The V joint views.
        cells: The cells of a model.
        first: The cells of the model that it is compared with.
        measure: Name of the measure.
        spec: Specification of the figure, which names the per-image arrays.

    Returns:
        (A, B); False everywhere with fewer than three seeds of either model, or if the models have
        no outcomes for the same images.
    """
    marks = np.zeros((len(views.first), len(views.second)), dtype=bool)
    groups = [_arrays(each, measure, spec, len(views.quantities)) for each in (cells, first)]
    if not all(len(each) >= SEEDS_FOR_INTERVAL for each in groups):
        return marks
    own, base = groups
    shown, index = base[0]["evaluated"], base[0][index_name()]
    for arrays in own + base:
        if not (
            np.array_equal(arrays[index_name()], index)
            and np.array_equal(arrays["evaluated"], shown)
        ):
            return marks
    objects = base[0].get(object_name())
    for row, quantity in enumerate(views.quantities):
        images = shown[row]
        first_outcomes, outcomes = (
            np.stack([each[str(spec.outcomes)][row, images] for each in group])
            for group in (base, own)
        )
        each = difference(
            outcomes,
            first_outcomes,
            objects=None if objects is None else objects[images],
        )
        low, high = each.interval or (each.mean, each.mean)  # none if no outcome varies
        marks[views.place(quantity)] = low <= 0 <= high
    return marks


def runs(flags: Bools) -> list[tuple[int, int]]:
    """Return the begin and the end of each run of True.

    >>> runs(np.array([True, True, False, True]))
    [(0, 2), (3, 4)]
    """
    steps = np.flatnonzero(np.diff(np.concatenate([[False], flags, [False]]).astype(int)))
    return [(int(begin), int(end)) for begin, end in steps.reshape(-1, 2)]


def limits_of(maps: Mapping[str, Floats]) -> tuple[float, float]:
    """Return the lowest and the highest number of some maps, NaN apart."""
    numbers = np.stack(list(maps.values()))
    return float(np.nanmin(numbers)), float(np.nanmax(numbers))


def _arrays(
    cells: Sequence[CellResult], measure: str, spec: HeatMapFigureSpec, num_views: int
) -> list[Mapping[str, NDArray[Any]]]:
    """Return the per-image arrays of the seeds that have outcomes at every view."""
    loaded = (load_arrays(cell, measure) for cell in cells if measure in cell.measures)
    return [each for each in loaded if len(each.get(str(spec.outcomes), ())) == num_views]
