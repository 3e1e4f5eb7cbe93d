"""Accuracy against the size of attacks: a panel for each attack, a line for each model."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import ceil
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from capsbench.reporting.aggregate import OverSeeds, keys, measured
from capsbench.reporting.figures import (
    LEGEND_LINE,
    PANEL,
    draw_legend,
    legend_rows,
    new_figure,
    share_axis,
)
from capsbench.reporting.results import Cell, Results
from capsbench.reporting.style import INK, series
from capsbench.reporting.formatting import number

MEASURE = "attacks"
KEY = re.compile(r"(?P<attack>.+)/eps=(?P<epsilon>[^/]+)/(?P<share>accuracy|blind|reached)")
NAME = re.compile(r"(from (?P<source>.+)/)?(?P<method>fgsm|bim|pgd)(?P<targeted>/targeted)?")
SHARES: dict[str, Any] = {"accuracy": "-", "reached": (0, (5, 2)), "blind": (0, (1, 2))}
TITLE = "What small changes of pixels do"
CAPTION = (
    "Accuracy on test images that were changed so that the model errs, no pixel by more than "
    "epsilon of the range from black to white; at 0 they are as they were. FGSM takes one step "
    "along the sign of the gradient of log p (Goodfellow et al. 2015), BIM several (Kurakin et al. "
    "2017), PGD several from a random start (Madry et al. 2018). Of targeted attacks, reached is "
    "the share that was taken for the class that was aimed at. Blind is the share of images of "
    "which the attacked model gives no gradient: an attack that knows the model (white box) cannot "
    "climb there, and what looks robust may only be blind. Images 'from' another model were made "
    "to fool that one (a transferred attack), which needs no gradient of this one."
)


class Point(NamedTuple):
    """A share over seeds at one epsilon."""

    epsilon: float
    over: OverSeeds


def attacks_of(results: Results) -> list[str]:
    """The attacks that any model was measured under, in the order of the record."""
    found = (match["attack"] for cells in results.by_label().values() for match in _keys(cells))
    return list(dict.fromkeys(found))


def attack_curve(cells: Sequence[Cell], attack: str, share: str) -> list[Point]:
    """A share at each epsilon; accuracy begins at 0, with the images as they are."""
    epsilons = sorted(
        (float(match["epsilon"]), match[0])
        for match in _keys(cells)
        if (match["attack"], match["share"]) == (attack, share)
    )
    if epsilons and share == "accuracy" and epsilons[0][0] > 0:
        epsilons.insert(0, (0.0, "unchanged/accuracy"))
    points = ((at, measured(cells, key, measure=MEASURE)) for at, key in epsilons)
    return [Point(at, over) for at, over in points if over]


def attack_figure(results: Results) -> Figure | None:
    """Draw all attacks; None while none was measured."""
    attacks = attacks_of(results)
    if not attacks:
        return None
    columns = min(2, len(attacks))
    lines = ceil(len(attacks) / columns)
    labels = list(results.by_label())
    rows = legend_rows(labels, columns)
    size = (PANEL[0] * columns, (PANEL[1] + 0.2) * lines + LEGEND_LINE * (rows + 1))
    with new_figure(size) as figure:
        panels = figure.subplots(lines, columns, sharey=True, squeeze=False)
        for axes, attack in zip(panels.flat, attacks, strict=False):
            _panel(axes, results, attack)
        for axes in panels[:, 0]:
            axes.set_ylabel("share of images")
        for axes in panels.flat[len(attacks) :]:
            axes.set_visible(False)
        draw_legend(figure, labels, rows)
        handles = [Line2D([], [], color=INK, linestyle=style) for style in SHARES.values()]
        figure.legend(handles, list(SHARES), loc="outside lower left", ncols=len(handles))
    return figure


def _keys(cells: Sequence[Cell]) -> list[re.Match[str]]:
    found = (KEY.fullmatch(key) for key in keys(cells, measure=MEASURE))
    return [match for match in found if match]


def _panel(axes: Axes, results: Results, attack: str) -> None:
    groups = list(results.by_label().values())
    curves = {
        (index, share): attack_curve(cells, attack, share)
        for index, cells in enumerate(groups)
        for share in SHARES
    }
    epsilons = sorted({point.epsilon for points in curves.values() for point in points})
    for (index, share), points in curves.items():
        look = series(index)
        main = share == "accuracy"
        # At even steps: epsilons that grow by factors would crowd at 0.
        places = [epsilons.index(point.epsilon) for point in points]
        means = [point.over.mean for point in points]
        axes.plot(
            places, means, color=look.colour, linestyle=SHARES[share], linewidth=1.5 if main else 1
        )
        for place, point in zip(places, points, strict=True):
            values = list(point.over.values.values()) if main else []
            axes.plot([place] * len(values), values, look.marker, color=look.colour, markersize=3.6)
    axes.set_title(attack_name(attack), fontsize=9.5)
    axes.set_xticks(range(len(epsilons)), [number(epsilon) for epsilon in epsilons])
    axes.set_xlabel("epsilon (1 = from black to white)")
    share_axis(axes)


def attack_name(attack: str) -> str:
    """An attack in words.

    >>> attack_name("pgd/targeted"), attack_name("from CNN/fgsm")
    ('PGD, targeted', 'FGSM, from CNN')
    >>> attack_name("from CNN/pgd/targeted")
    'PGD, targeted, from CNN'
    """
    match = NAME.fullmatch(attack)
    assert match is not None
    words = [match["method"].upper()]
    words += ["targeted"] if match["targeted"] else []
    words += [f"from {match['source']}"] if match["source"] else []
    return ", ".join(words)
