"""The table of a search for recipes."""

from __future__ import annotations

from capsbench.reporting.plain_table import PlainTable
from capsbench.reporting.results import Results
from capsbench.reporting.formatting import duration, number, percent


def tables(results: Results) -> list[PlainTable]:
    """Every trial of every model, if the recipes were searched for."""
    found = results.protocol.search
    if found is None:
        return []
    return [
        PlainTable(
            "search",
            "The search for recipes",
            ("Model", "Recipe", "Validation accuracy", "Training time", "Chosen"),
            tuple(
                (
                    trial.label,
                    ", ".join(f"{name} {number(value)}" for name, value in trial.recipe.items()),
                    "diverged" if trial.accuracy is None else percent(trial.accuracy),
                    duration(trial.seconds),
                    "yes" if trial.chosen else "",
                )
                for trial in found.trials
            ),
            f"Every model had the same trials, all with seed {found.seed}; the best on validation "
            "images, seen at familiar views, was carried out with every seed.",
            numbers=(2, 3),
        )
    ]
