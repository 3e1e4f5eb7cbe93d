"""Table of kept searches: the chosen values of every model, over all exported records."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.records import SearchRecord
from capsbench.reporting.formatting import percent
from capsbench.reporting.tables.search_table import values_text
from capsbench.reporting.tables.table import Table, number_columns, text_columns, text_rows

CAPTION = (
    "Each model of a search had equally many trials with the same recipes. The best of them were "
    "trained with three seeds; the mean of their validation accuracies chose. An edge is the "
    "lowest or highest learning rate of all trials: a wider range may have a better one."
)


def searches_table(searches: Sequence[SearchRecord]) -> Table | None:
    """Return one row per searched model; None if there is no search."""
    rows = []
    for search in searches:
        edge = search.at_edge
        for model in search.models:
            chosen = search.chosen(model.label)
            assert chosen is not None  # every kept record has been checked
            assert chosen.accuracy is not None
            rows.append(
                (
                    search.name,
                    model.label,
                    values_text(chosen),
                    "yes" if model.label in edge else "",
                    percent(chosen.accuracy),
                    str(len(search.trials_of(model.label))),
                )
            )
    if not rows:
        return None
    return Table(
        name="searches",
        title="Searches for recipes",
        columns=(
            *text_columns("Search", "Model", "Chosen values", "At an edge"),
            *number_columns("Validation accuracy", "Trials"),
        ),
        rows=text_rows(rows),
        caption=CAPTION,
    )
