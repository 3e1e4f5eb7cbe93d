"""Table of a search for recipes."""

from __future__ import annotations

from capsbench.records import Results
from capsbench.reporting.formatting import duration, number, percent
from capsbench.reporting.tables.table import Table, TableRow, number_columns, text_columns


def search_table(results: Results) -> Table | None:
    """Return every trial of every model; None if the recipes were not searched for."""
    search = results.record.search
    if search is None:
        return None
    return Table(
        name="search",
        title="Search for recipes",
        columns=(
            *text_columns("Model", "Recipe"),
            *number_columns("Validation accuracy", "Training time"),
            *text_columns("Chosen"),
        ),
        rows=tuple(
            TableRow(
                (
                    trial.label,
                    ", ".join(f"{name} {number(value)}" for name, value in trial.recipe.items()),
                    "diverged" if trial.accuracy is None else percent(trial.accuracy),
                    duration(trial.seconds),
                    "yes" if trial.chosen else "",
                )
            )
            for trial in search.trials
        ),
        caption=(
            f"Every model had the same trials, all with seed {search.seed}. The recipe with the "
            "highest accuracy on validation images, seen at familiar views, was trained with every "
            "seed."
        ),
    )
