"""Accuracy against what a benchmark varies, and against the number of parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from capsbench.reporting.aggregate import OverSeeds, keys, measured
from capsbench.reporting.figures import (
    LEGEND_LINE,
    PANEL,
    draw_legend,
    legend_rows,
    new_figure,
    share_axis,
)
from capsbench.reporting.results import ACCURACY_BY_SPLIT, ACCURACY_BY_VIEW, Cell, Results
from capsbench.reporting.split_table import heading
from capsbench.reporting.style import line_style, series
from capsbench.reporting.formatting import number

FEWEST = 3  # sizes of one network: two points are no curve
OF_VIEWS = ("familiar/accuracy", "novel/accuracy")
READING = (
    "Each mark is one seed, the line runs through the means, upright lines are 95 % t intervals "
    "of the mean from three seeds up."
)
VARIED_TITLE = "Accuracy against what is varied"
PARAMETERS_TITLE = "Accuracy against parameters"
PARAMETERS_CAPTION = (
    f"Networks of several sizes, a line for each kind. {READING} Where one line lies above "
    "another, it needs fewer parameters for the same accuracy."
)

Point = tuple[float, OverSeeds]


@dataclass(frozen=True)
class Panel:
    """One accuracy.

    Attributes:
        title: Its heading.
        lines: The points of each line, by its name, in the order of x.
    """

    title: str
    lines: Mapping[str, tuple[Point, ...]]


def varied(results: Results) -> list[Panel]:
    """Accuracy against the varied value, a line per model; none where nothing is varied."""
    if results.benchmark.vary is None:
        return []
    groups = {
        entry.label: [
            (at, [c for c in results.cells if (c.label, c.at) == (entry.label, at)])
            for at in results.benchmark.vary.values
        ]
        for entry in results.benchmark.models
    }
    return _panels(groups)


def by_parameters(results: Results) -> list[Panel]:
    """Accuracy against parameters, a line per kind of network that comes in three sizes or more."""
    names = [entry.name for entry in results.benchmark.models]
    if results.benchmark.vary or max(map(names.count, names)) < FEWEST:
        return []
    groups: dict[str, list[tuple[float, list[Cell]]]] = {name: [] for name in names}
    by_label = results.by_label()
    for entry in results.benchmark.models:
        cells = by_label.get(entry.label, [])
        size = next((c.training.parameters for c in cells if c.training), None)
        if size is not None:
            groups[entry.name].append((float(size), cells))
    if any(len({x for x, _ in group}) < len(group) for group in groups.values()):
        return []  # the same size twice: the networks differ in something else
    return _panels(groups)


def varied_figure(results: Results) -> Figure | None:
    """Draw `varied`; None where there is nothing."""
    vary = results.benchmark.vary
    panels = varied(results)
    if vary is None or not panels:
        return None
    return _draw(panels, vary.name, logarithmic=vary.logarithmic, ticks=list(vary.values))


def varied_caption(results: Results) -> str:
    """What the figure shows."""
    vary = results.benchmark.vary
    return f"On the axis: {vary.name}. All else is the same. {READING}" if vary else ""


def parameters_figure(results: Results) -> Figure | None:
    """Draw `by_parameters`; None where there is nothing."""
    panels = by_parameters(results)
    return _draw(panels, "parameters", logarithmic=True) if panels else None


def _panels(groups: Mapping[str, Sequence[tuple[float, Sequence[Cell]]]]) -> list[Panel]:
    found = []
    for measure, key in _accuracies([cells for group in groups.values() for _, cells in group]):
        lines = {}
        for name, group in groups.items():
            points = [(x, measured(cells, key, measure=measure)) for x, cells in group]
            lines[name] = tuple(sorted(((x, o) for x, o in points if o), key=lambda p: p[0]))
        found.append(Panel(heading(key), lines))
    return found


def _accuracies(groups: Sequence[Sequence[Cell]]) -> list[tuple[str, str]]:
    """The accuracies that are drawn, each with its measure."""
    found = {
        (measure, key): None
        for measure in (ACCURACY_BY_SPLIT, ACCURACY_BY_VIEW)
        for cells in groups
        for key in keys(cells, measure=measure)
        if (key in OF_VIEWS if measure == ACCURACY_BY_VIEW else key.endswith("/accuracy"))
    }
    return list(found)


def _draw(
    panels: Sequence[Panel],
    axis: str,
    *,
    logarithmic: bool,
    ticks: Sequence[float] | None = None,
) -> Figure:
    names = list(panels[0].lines)
    columns = min(2, len(panels))
    rows, legend = ceil(len(panels) / columns), legend_rows(names, columns)
    with new_figure((PANEL[0] * columns, PANEL[1] * rows + LEGEND_LINE * legend)) as figure:
        grid = figure.subplots(rows, columns, sharey=True, squeeze=False)
        for axes, panel in zip(grid.flat, panels, strict=False):
            for index, points in enumerate(panel.lines.values()):
                _line(axes, points, index)
            if logarithmic:
                axes.set_xscale("log")
            if ticks is not None:
                axes.set_xticks(ticks, [number(x) for x in ticks])
                axes.minorticks_off()
            axes.set_title(panel.title, fontsize="medium")
            axes.set_xlabel(axis)
            share_axis(axes)
        for axes in grid[:, 0]:
            axes.set_ylabel("accuracy")
        for axes in grid.flat[len(panels) :]:
            axes.set_visible(False)
        draw_legend(figure, names, legend)
    return figure


def _line(axes: Axes, points: Sequence[Point], index: int) -> None:
    look = series(index)
    places, means = [x for x, _ in points], [over.mean for _, over in points]
    axes.plot(places, means, color=look.colour, linestyle=line_style(index))
    for x, over in points:
        values = list(over.values.values())
        axes.plot([x] * len(values), values, look.marker, color=look.colour, markersize=4)
        if limits := over.interval:
            axes.plot([x, x], limits, color=look.colour, linewidth=1, alpha=0.6)
