"""Table of what was measured on the cells of a benchmark beside its own measures.

These are results of ``capsbench measure``, and measures of other benchmarks that share the cells.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from capsbench.files.yaml import write_yaml
from capsbench.measures import load_measure
from capsbench.records import CellResult, MeasureRecord, Results
from capsbench.records.cell_files import load_complete_measure
from capsbench.reporting.tables.table import Table, TableColumn, TableRow, text_columns
from capsbench.reporting.tables.totals_table import totals_table
from capsbench.trusted_code import is_trusted

CAPTION = (
    "Measured on the same trainings by 'capsbench measure' or for another benchmark: no part of "
    "this protocol, and in none of the comparisons above. Values of single views are left out."
)


def further_table(results: Results) -> Table | None:
    """Return the values of further measures, over the seeds of each model; None if there are none.

    Args:
        results: The records.
    """
    columns: tuple[TableColumn, ...] = ()
    rows = []
    for title, cells in results.by_label().items():
        color = results.color_indices()[title]
        for measured in _further(cells).values():
            own = totals_table(measured)
            if own is not None:
                heading, value, mean, *_, images = own.columns
                columns = (heading, value, mean, images)
                record = next(iter(measured[0].measures.values()))
                for row in own.rows:
                    cell_of = dict(zip(own.columns, row.cells, strict=True))
                    shown = tuple(cell_of[column] for column in columns)
                    rows.append(TableRow((title, _arguments(record), *shown), color=color))
    if not rows:
        return None
    return Table(
        name="further",
        title="Measured beside the protocol",
        columns=(*text_columns("Model", "Arguments"), *columns),
        rows=tuple(rows),
        caption=CAPTION,
    )


def further_records(cell: CellResult) -> Iterator[tuple[str, MeasureRecord]]:
    """Yield name and record of each complete measure of a cell that the benchmark does not list.

    Records of earlier revisions are left out, and those of measures whose code is not trusted.
    """
    own = set(cell.reference.measures.values())
    for path in sorted(cell.folder.measure("x").parent.glob("*.json")):
        if path.stem in own:
            continue
        record = load_complete_measure(cell.folder, path.stem)
        if record is None or not is_trusted("measures", record.measure):
            continue
        if record.revision == load_measure(record.measure).revision:
            yield path.stem, record


def _further(cells: list[CellResult]) -> dict[str, list[CellResult]]:
    """Return the cells with one further measure each, by the name of its record."""
    groups: dict[str, list[CellResult]] = {}
    for cell in cells:
        for name, record in further_records(cell):
            groups.setdefault(name, []).append(replace(cell, measures={record.measure: record}))
    return groups


def _arguments(record: MeasureRecord) -> str:
    """Return the arguments of a measure that differ from its defaults, as YAML on one line."""
    defaults = {
        name: field.default
        for name, field in load_measure(record.measure).config.model_fields.items()
        if not field.is_required()
    }
    given = record.model_dump(mode="json")["arguments"]
    changed = {k: v for k, v in given.items() if k not in defaults or defaults[k] != v}
    return " ".join(write_yaml(changed).split()) if changed else ""
