"""Table of a search for recipes."""

from __future__ import annotations

from capsbench.records import Results, Trial
from capsbench.reporting.formatting import counted, duration, listed, number, percent
from capsbench.reporting.tables.table import Table, TableRow, number_columns, text_columns


def search_table(results: Results) -> Table | None:
    """Return every trial of every model; None if the run did not search."""
    search = results.record.search
    if search is None:
        return None
    edge = search.at_edge
    wider = (
        f" {listed(edge)}: the best learning rate is the lowest or highest of the trials, so that "
        "a wider range may have a better one."
        if edge
        else ""
    )
    return Table(
        name="search",
        title="Search for recipes",
        columns=(
            *text_columns("Model", "Values"),
            *number_columns("Validation accuracy", "Training time"),
            *text_columns("Chosen"),
        ),
        rows=tuple(
            TableRow(
                (
                    trial.label,
                    _values(trial),
                    trial.outcome if trial.accuracy is None else percent(trial.accuracy),
                    duration(trial.seconds),
                    "yes" if trial.chosen else "",
                )
            )
            for trial in search.trials
        ),
        caption=(
            f"Every model had {counted(search.search.trials, 'trial')} with the same recipes, "
            f"drawn ahead by a {search.design}, all with seed {search.seed}, which is not "
            "reported. The values with the highest accuracy on validation images, seen at familiar "
            f"views, were trained with every seed. Record: {search.name}.{wider}"
        ),
    )


def _values(trial: Trial) -> str:
    """Return the values of a trial as text."""
    recipe = [f"{name} {number(value)}" for name, value in trial.recipe.items()]
    return ", ".join([*recipe, *(f"{name} {value}" for name, value in trial.arguments.items())])
