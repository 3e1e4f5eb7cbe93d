"""Table of what measures could not measure, of which models, and why."""

from __future__ import annotations

from capsbench.names import without_folder
from capsbench.records import Results
from capsbench.reporting.formatting import listed
from capsbench.reporting.tables.table import Table, TableRow, text_columns

ALL = "all models"


def missing_table(results: Results, *, whole_measures: bool = False) -> Table | None:
    """Return one row per reason, with the models and measures; None if nothing is missing.

    Args:
        results: The records.
        whole_measures: Leave out reasons of measures that have other values of the model.
    """
    groups = results.by_label()
    measures: dict[tuple[str, str], list[str]] = {}  # by models and note
    for measure in (config.measure for config in results.benchmark.measures):
        titles: dict[str, list[str]] = {}
        for title, notes in results.notes(measure).items():
            records = (c.measures[measure] for c in groups[title] if measure in c.measures)
            if whole_measures and any(record.values for record in records):
                continue
            for note in notes:
                titles.setdefault(note, []).append(title)
        for note, models in titles.items():
            of = ALL if len(models) == len(groups) > 1 else listed(models)
            measures.setdefault((of, note), []).append(without_folder(measure))
    if not measures:
        return None
    return Table(
        name="not-measured",
        title="Not measured",
        columns=text_columns("Models", "Measures", "Reason"),
        rows=tuple(TableRow((of, listed(each), note)) for (of, note), each in measures.items()),
        caption=(
            "What a measure needs and a model lacks, such as class capsules, a reconstruction, a "
            "layer of a name, or the positions of a map, is left out with the reason. So are "
            "numbers from outputs that are not finite, or that have no gradient. Numbers that "
            "depend on a random draw or on the batch are measured, and named here too."
        ),
    )
