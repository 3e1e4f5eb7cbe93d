"""Table of what was measured on the cells of a benchmark beside its own measures.

These are results of ``capsbench measure``, and measures of other benchmarks that share the cells.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from capsbench.files.yaml import write_yaml
from capsbench.measures import load_measure
from capsbench.names import without_folder
from capsbench.records import CellResult, MeasureRecord, Results
from capsbench.records.cell_files import load_complete_measure
from capsbench.reporting.comparisons.aggregate import aggregate_seeds, quantities
from capsbench.reporting.formatting import count_range
from capsbench.reporting.tables.mean_cell import mean_cell
from capsbench.reporting.tables.quantity_text import quantity_text
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.trusted_code import is_trusted

CAPTION = (
    "Measured on the same trainings by 'capsbench measure' or for another benchmark: no part of "
    "this protocol, and in none of the comparisons above. Numbers of layers, single views, factors "
    "and conditions are in the records."
)
ELSEWHERE = "in its records"


def further_table(results: Results) -> Table | None:
    """Return the summaries of further measures, over the seeds of each model.

    Args:
        results: The records.

    Returns:
        The table; None if there are no further measures.
    """
    color_indices = results.color_indices()
    rows = [
        TableRow((title, *cells_of_row), color=color_indices[title])
        for title, cells in results.by_label().items()
        for measured in _further(cells).values()
        for cells_of_row in _rows(measured)
    ]
    if not rows:
        return None
    return Table(
        name="further",
        title="Measured beside the protocol",
        columns=(
            *text_columns("Model", "Measure", "Arguments", "Value"),
            *number_columns("Mean over seeds", "Images"),
        ),
        rows=tuple(rows),
        caption=CAPTION,
    )


def _rows(cells: Sequence[CellResult]) -> Iterator[tuple[TableCell | str | None, ...]]:
    """Yield measure, arguments, value, mean and images of cells with one measure each."""
    (measure, record), *_ = cells[0].measures.items()
    named = (without_folder(measure), _arguments(record))
    units = load_measure(measure).metrics
    plain = [
        quantity
        for quantity in quantities(cells, measure, view=None, layer=None, factor=None, source=None)
        if not quantity.condition
    ]
    for quantity in plain:
        values = aggregate_seeds(cells, measure, quantity)
        if values is not None:
            images = count_range(values.images) if values.images else None
            mean = mean_cell(values, units[quantity.metric].unit)
            yield *named, quantity_text(quantity), mean, images
    if not plain:
        yield *named, ELSEWHERE, None, None


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
