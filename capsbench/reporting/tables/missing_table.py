"""Table of what measures could not measure, of which models, and why; and of unstable models."""

from __future__ import annotations

from capsbench.measures._result import DEPENDS
from capsbench.names import without_folder
from capsbench.records import Results
from capsbench.reporting.formatting import listed
from capsbench.reporting.tables.table import Table, TableRow, text_columns

ALL = "all models"


def missing_table(results: Results, *, whole_measures: bool = False) -> Table | None:
    """Return one row per measure and reason, with the models; None if nothing is missing.

    A note on all numbers of a model has one row for all measures.

    Args:
        results: The records.
        whole_measures: Leave out reasons of measures that have other values of the model.
    """
    groups = results.by_label()
    rows = []
    unstable: dict[tuple[str, str], list[str]] = {}  # measures by title and note
    for measure in (config.measure for config in results.benchmark.measures):
        titles: dict[str, list[str]] = {}
        for title, notes in results.notes(measure).items():
            records = (c.measures[measure] for c in groups[title] if measure in c.measures)
            is_left_out = whole_measures and any(record.values for record in records)
            for note in notes:
                if note.startswith(DEPENDS):
                    unstable.setdefault((title, note), []).append(without_folder(measure))
                elif not is_left_out:
                    titles.setdefault(note, []).append(title)
        for note, models in titles.items():
            of = ALL if len(models) == len(groups) > 1 else listed(models)
            rows.append(TableRow((of, without_folder(measure), note)))
    rows += [TableRow((title, listed(each), note)) for (title, note), each in unstable.items()]
    if not rows:
        return None
    return Table(
        name="not-measured",
        title="Not measured, or unstable" if unstable else "Not measured",
        columns=text_columns("Models", "Measure", "Reason"),
        rows=tuple(rows),
        caption=(
            "What a measure needs and a model lacks, such as class capsules, a reconstruction, a "
            "layer of a name, or the positions of a map, is left out with the reason. So are "
            "numbers from outputs that are not finite, or that have no gradient. Numbers that "
            "depend on a random draw or on the batch are measured, and named here too."
        ),
    )
