"""All figures of what measures found beyond accuracy by view, each with its caption."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from matplotlib.figure import Figure

from capsbench.reporting import scaling_figures, attack_figures, size_figure
from capsbench.reporting.layer_figures import layer_figure
from capsbench.reporting.layer_terms import LAYER_FIGURES
from capsbench.reporting.results import ACCURACY_BY_SPLIT, Results


@dataclass(frozen=True)
class MeasureFigure:
    """A figure with what is said of it.

    Attributes:
        figure: The figure.
        measure: Whose values it draws.
        title: Its heading.
        caption: What it shows, how to read it, the definition, the source.
        notes: What was left out, and why, by model.
    """

    figure: Figure
    measure: str
    title: str
    caption: str
    notes: Mapping[str, tuple[str, ...]]


def measure_figures(results: Results) -> dict[str, MeasureFigure]:
    """What has been measured, by the name of its file."""
    drawn = {
        asked.name: (layer_figure(results, asked), asked.measure, asked.title, asked.caption)
        for asked in LAYER_FIGURES
    }
    drawn["attacks"] = (
        attack_figures.attack_figure(results),
        attack_figures.MEASURE,
        attack_figures.TITLE,
        attack_figures.CAPTION,
    )
    drawn["size"] = (
        size_figure.size_figure(results),
        ACCURACY_BY_SPLIT,
        size_figure.TITLE,
        size_figure.CAPTION,
    )
    drawn["varied"] = (
        scaling_figures.varied_figure(results),
        ACCURACY_BY_SPLIT,
        scaling_figures.VARIED_TITLE,
        scaling_figures.varied_caption(results),
    )
    drawn["parameters"] = (
        scaling_figures.parameters_figure(results),
        ACCURACY_BY_SPLIT,
        scaling_figures.PARAMETERS_TITLE,
        scaling_figures.PARAMETERS_CAPTION,
    )
    return {
        name: MeasureFigure(figure, measure, title, caption, _notes(results, measure))
        for name, (figure, measure, title, caption) in drawn.items()
        if figure is not None
    }


def _notes(results: Results, measure: str) -> dict[str, tuple[str, ...]]:
    """Each model's notes, those of all its seeds once."""
    found = {
        label: tuple(
            dict.fromkeys(
                note
                for cell in cells
                if (outcome := cell.measurements.get(measure))
                for note in outcome.notes
            )
        )
        for label, cells in results.by_label().items()
    }
    return {label: notes for label, notes in found.items() if notes}
