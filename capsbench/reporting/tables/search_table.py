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
    first, *others = map(str, search.seeds)
    again = (
        f"The best {search.search.finalists} of each were trained again with seeds "
        f"{listed(others)}, and have the mean of all. "
        if search.search.finalists > 1
        else ""
    )
    return Table(
        name="search",
        title="Search for recipes",
        columns=(
            *text_columns("Model", "Values"),
            *number_columns("Validation accuracy", "Seeds", "Training time"),
            *text_columns("Chosen"),
        ),
        rows=tuple(
            TableRow(
                (
                    trial.label,
                    values_text(trial),
                    _accuracy(trial),
                    str(len(trial.runs)),
                    duration(sum(run.seconds for run in trial.runs)),
                    "yes" if trial.chosen else "",
                )
            )
            for trial in search.trials
        ),
        caption=(
            f"Every model had {counted(search.search.trials, 'trial')} with the same recipes, "
            f"drawn ahead by a {search.design}, with seed {first}. {again}The values with the "
            "highest accuracy on validation images, seen at familiar views, were trained with "
            f"every reported seed. Record: {search.name}.{wider}"
        ),
    )


def _accuracy(trial: Trial) -> str:
    return trial.runs[0].outcome if trial.accuracy is None else percent(trial.accuracy)


def values_text(trial: Trial) -> str:
    """Return the values of a trial in words."""
    recipe = [f"{name} {number(value)}" for name, value in trial.recipe.items()]
    return ", ".join([*recipe, *(f"{name} {value}" for name, value in trial.arguments.items())])
