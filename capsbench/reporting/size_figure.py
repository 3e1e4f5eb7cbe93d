"""Accuracy against the number in which the models of a benchmark differ."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from capsbench.reporting.aggregate import OverSeeds, keys, measured
from capsbench.reporting.figures import PANEL, new_figure, share_axis
from capsbench.reporting.results import ACCURACY_BY_SPLIT, ACCURACY_BY_VIEW, Cell, Results
from capsbench.reporting.split_table import heading
from capsbench.reporting.style import line_style, series
from capsbench.reporting.formatting import number

FEWEST = 3  # models: two points are no curve
TITLE = "Accuracy against size"
CAPTION = (
    "The models are one network but for the numbers below. Each mark is one seed, the line runs "
    "through the means, upright lines are 95 % t intervals of the mean from three seeds up."
)


@dataclass(frozen=True)
class SizeCurve:
    """One accuracy of all models.

    Attributes:
        name: What the legend calls it.
        points: The number in which the models differ, and the accuracy over seeds.
    """

    name: str
    points: tuple[tuple[float, OverSeeds], ...]


def differing(results: Results) -> dict[str, list[float]]:
    """The arguments that are a number of its own for each model, by name; in the file's order.

    Nothing unless three models or more are one network otherwise.
    """
    entries = results.benchmark.models
    if len(entries) < FEWEST or len({entry.name for entry in entries}) > 1:
        return {}
    names = dict.fromkeys(name for entry in entries for name in entry.arguments)
    found = {}
    for name in names:
        values = [entry.arguments.get(name) for entry in entries]
        numbers = [float(value) for value in values if isinstance(value, int | float)]
        if len(set(numbers)) == len(entries):
            found[name] = numbers
        elif any(value != values[0] for value in values):
            return {}
    return found


def sizes(results: Results) -> list[SizeCurve]:
    """Accuracy on splits, or at familiar and novel views, against the first differing argument."""
    found = differing(results)
    if not found:
        return []
    numbers = next(iter(found.values()))
    groups = results.by_label()
    cells = [groups.get(entry.label, []) for entry in results.benchmark.models]
    curves = []
    for measure, key in _accuracies(cells):
        over = [measured(each, key, measure=measure) for each in cells]
        points = [(x, each) for x, each in sorted(zip(numbers, over, strict=True), key=_x) if each]
        curves.append(SizeCurve(heading(key), tuple(points)))
    return curves


def _x(point: tuple[float, OverSeeds | None]) -> float:
    return point[0]


def _accuracies(groups: Sequence[Sequence[Cell]]) -> list[tuple[str, str]]:
    """The accuracies that are drawn, each with its measure."""
    of_views = ("familiar/accuracy", "novel/accuracy")
    found = {
        (measure, key): None
        for measure in (ACCURACY_BY_SPLIT, ACCURACY_BY_VIEW)
        for cells in groups
        for key in keys(cells, measure=measure)
        if (key in of_views if measure == ACCURACY_BY_VIEW else key.endswith("/accuracy"))
    }
    return list(found)


def size_figure(results: Results) -> Figure | None:
    """Draw the curves; None where there are none."""
    curves = sizes(results)
    if not curves:
        return None
    with new_figure((PANEL[0] * 1.4, PANEL[1] * 1.3)) as figure:
        axes = figure.subplots()
        for index, curve in enumerate(curves):
            _draw(axes, curve, index)
        found = differing(results)
        numbers = sorted(next(iter(found.values())))
        axes.set_xscale("log", base=2)
        axes.set_xticks(numbers, [number(x) for x in numbers])
        axes.minorticks_off()
        axes.set_xlabel(" (and ".join(found) + ")" * (len(found) - 1))
        axes.set_ylabel("accuracy")
        share_axis(axes)
        axes.legend()
    return figure


def _draw(axes: Axes, curve: SizeCurve, index: int) -> None:
    look = series(index)
    places = [x for x, _ in curve.points]
    means = [over.mean for _, over in curve.points]
    axes.plot(places, means, color=look.colour, linestyle=line_style(index), label=curve.name)
    for x, over in curve.points:
        values = list(over.values.values())
        axes.plot([x] * len(values), values, look.marker, color=look.colour, markersize=4)
        if limits := over.interval:
            axes.plot([x, x], limits, color=look.colour, linewidth=1, alpha=0.6)
