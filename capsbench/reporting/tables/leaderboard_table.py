"""Leaderboards over all exported records: networks by what changes, and routings on one stem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from capsbench.records import CellResult
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    SeedValues,
    aggregate_seeds,
    collect,
)
from capsbench.reporting.comparisons.chance import chance_text
from capsbench.reporting.comparisons.gains import seed_gains
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.exports.revisions import earlier_revisions
from capsbench.reporting.formatting import NUMBER_FORMATS, percent, share
from capsbench.reporting.tables.split_table import ACCURACY_BY_SPLIT
from capsbench.reporting.tables.table import (
    Table,
    TableCell,
    TableRow,
    number_columns,
    text_columns,
)
from capsbench.schema.claims import ClaimTest
from capsbench.values import MERGED_ACCURACY, Quantity

SCALE = "cpu"  # the one at which every network is tuned equally
FAMILIAR, NOVEL = (Quantity(metric="accuracy", split=split) for split in ("familiar", "novel"))
NOVEL_MERGED = Quantity(metric=MERGED_ACCURACY, split="novel", condition={"classes": "6 and 9"})
WORST_CASE = Quantity(metric="accuracy", condition={"method": "worst-case"})
EQUIVARIANCE = "equivariance"  # the benchmark with numbers of layers
READING = (
    "Means over seeds with their 95 % intervals. Columns are different tasks: only numbers of one "
    "column can be compared. A dash is a network that has not been measured there."
)


class Column(NamedTuple):
    """An accuracy of a record.

    Attributes:
        title: Heading.
        source: Name of the benchmark, or of a part of claims as ``claims/part``.
        measure: Name of the measure.
        quantity: The accuracy.
    """

    title: str
    source: str
    measure: str
    quantity: Quantity


NETWORK_COLUMNS = (
    Column("Familiar", "rotations", ACCURACY_BY_VIEW, FAMILIAR),
    Column("Rotated", "rotations", ACCURACY_BY_VIEW, NOVEL_MERGED),
    Column("Shifted", "shifts", ACCURACY_BY_VIEW, NOVEL),
    Column("Scaled", "scales", ACCURACY_BY_VIEW, NOVEL),
    Column("Affine", "affine", ACCURACY_BY_VIEW, NOVEL_MERGED),
    Column("Tilted", "tilts", ACCURACY_BY_VIEW, NOVEL),
    Column("Azimuth", "toynorb-azimuth", ACCURACY_BY_SPLIT, NOVEL),
    Column("Elevation", "toynorb-elevation", ACCURACY_BY_SPLIT, NOVEL),
    Column("All angles", "rotmnist", ACCURACY_BY_SPLIT, FAMILIAR),
    Column("Attacked", EQUIVARIANCE, "attacks", WORST_CASE),
)
ROUTING_COLUMNS = (
    Column("Familiar digits", "routings/mnist", ACCURACY_BY_VIEW, FAMILIAR),
    Column("Novel digits", "routings/mnist", ACCURACY_BY_VIEW, NOVEL_MERGED),
    Column("Familiar toys", "routings/toynorb", ACCURACY_BY_SPLIT, FAMILIAR),
    Column("Novel toys", "routings/toynorb", ACCURACY_BY_SPLIT, NOVEL),
)
Sources = Mapping[str, Sequence[CellResult]]


def leaderboards(
    exported: Sequence[ExportedResults], claims: Sequence[ExportedClaims]
) -> list[Table]:
    """Return the leaderboard of networks, and that of routings on one stem.

    They hold what was measured at scale cpu, at which every network is tuned equally; records of
    earlier revisions are left out. Tables without a number are left out.

    Args:
        exported: Exported records of benchmarks.
        claims: Those of claims.
    """
    sources = _sources(exported, claims)
    learned = [
        test.test
        for each in claims
        for claim in each.judged
        for test in claim.tests
        if test.test.learned
    ]
    tables = (
        _leaderboard("leaderboard", "Leaderboard", sources, NETWORK_COLUMNS, learned),
        _leaderboard("routings", "Routings on one stem", sources, ROUTING_COLUMNS, ()),
    )
    return [table for table in tables if table is not None]


def _sources(exported: Sequence[ExportedResults], claims: Sequence[ExportedClaims]) -> Sources:
    found: dict[str, Sequence[CellResult]] = {
        each.name: each.cells for each in exported if each.size == SCALE
    }
    for each in claims:
        if each.size == SCALE:
            found |= {f"{each.name}/{part}": cells for part, cells in each.parts.items()}
    return {name: cells for name, cells in found.items() if not earlier_revisions(cells)}


def _leaderboard(
    name: str,
    title: str,
    sources: Sources,
    columns: Sequence[Column],
    learned: Sequence[ClaimTest],
) -> Table | None:
    """Return one row per network; None if there is no number.

    Args:
        name: Anchor.
        title: Heading.
        sources: Cells by the name of their record.
        columns: The accuracies; those whose record is missing are left out.
        learned: Tests of numbers of layers, whose gain by training is a column.
    """
    columns = [column for column in columns if column.source in sources]
    if not columns:
        return None
    cells_of = {column.source: _by_label(sources[column.source]) for column in columns}
    labels = dict.fromkeys(label for column in columns for label in cells_of[column.source])
    layers = _layers(learned) if EQUIVARIANCE in sources else {}
    rows = []
    for label in labels:
        own = {source: groups[label] for source, groups in cells_of.items() if label in groups}
        accuracies = [
            _cell(aggregate_seeds(own.get(column.source, ()), column.measure, column.quantity))
            for column in columns
        ]
        gain = [_gain(own.get(EQUIVARIANCE, ()), layers.get(label))] if layers else []
        rows.append(TableRow((label, *accuracies, *gain, *_costs(next(iter(own.values()))))))
    gained = ["Equivariance gained"] if layers else []
    return Table(
        name=name,
        title=title,
        columns=(
            *text_columns("Network"),
            *number_columns(*(column.title for column in columns), *gained),
            *number_columns("Parameters", "Operations", "Training time"),
        ),
        rows=tuple(rows),
        caption=_caption(columns, learned if layers else ()),
    )


def _by_label(cells: Iterable[CellResult]) -> dict[str, list[CellResult]]:
    groups: dict[str, list[CellResult]] = {}
    for cell in cells:
        groups.setdefault(cell.label, []).append(cell)
    return groups


def _layers(learned: Sequence[ClaimTest]) -> dict[str, tuple[str, Quantity]]:
    """Return measure and quantity of the layer that claims compare, by the network's label."""
    found = {}
    for test in learned:
        found[test.model] = test.measure, test.quantity
        found[test.against] = test.measure, test.against_quantity or test.quantity
    return found


def _cell(values: SeedValues | None, unit: str = "share") -> TableCell | None:
    if values is None:
        return None
    text, bare = (percent, share) if unit == "share" else NUMBER_FORMATS[unit]
    limits = values.interval
    interval = f"{bare(limits[0])} to {bare(limits[1])}" if limits else ""
    note = chance_text(values.at_chance)
    return TableCell(text(values.mean), details=interval, note=note, number=values.mean)


def _gain(cells: Sequence[CellResult], layer: tuple[str, Quantity] | None) -> TableCell | None:
    return None if layer is None else _cell(seed_gains(cells, *layer), "number")


def _costs(cells: Sequence[CellResult]) -> tuple[TableCell | None, ...]:
    """Return parameters, operations and training time of a network in the first column's record."""
    parameters = next((cell.parameters for cell in cells if cell.parameters), None)
    operations = next((cell.flops for cell in cells if cell.flops), None)
    trained = [(cell.seed, cell.training) for cell in cells if cell.training]
    seconds = collect((seed, t.seconds) for seed, t in trained if t.status == "trained")
    return (
        None if parameters is None else TableCell(f"{parameters:,}", number=parameters),
        None if operations is None else TableCell(f"{operations:,}", number=operations),
        None if seconds is None else TableCell(NUMBER_FORMATS["seconds"].text(seconds.mean)),
    )


def _caption(columns: Sequence[Column], learned: Sequence[ClaimTest]) -> str:
    parts = "; ".join(f"{column.title}: {column.source}" for column in columns)
    gained = (
        " Equivariance gained is what training adds to R² of a linear map of the layer that the "
        "claims compare, class poses or the hidden layer, at quarter turns."
        if learned
        else ""
    )
    return (
        f"At scale {SCALE}, every network tuned by an equal search. {READING} Records: {parts}."
        f"{gained} Parameters, operations of one image and training time are those of the first "
        "record that has the network."
    )
