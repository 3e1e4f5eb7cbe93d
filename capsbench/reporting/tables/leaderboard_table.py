"""Leaderboards over all exported records: networks by what changes, and routings on one stem."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import NamedTuple

from capsbench.records import CellResult
from capsbench.records.benchmark import ProtocolChanges
from capsbench.reporting.comparisons.aggregate import (
    ACCURACY_BY_VIEW,
    SeedValues,
    aggregate_seeds,
)
from capsbench.reporting.comparisons.chance import chance_text
from capsbench.reporting.comparisons.gains import seed_gains
from capsbench.reporting.comparisons.joint_views import ACCURACY_BY_JOINT_VIEW
from capsbench.reporting.exports.claims_export import ExportedClaims
from capsbench.reporting.exports.export import ExportedResults
from capsbench.reporting.exports.revisions import earlier_revisions
from capsbench.reporting.formatting import NUMBER_FORMATS, listed
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
MERGED = {"metric": MERGED_ACCURACY, "split": "novel", "condition": {"classes": "6 and 9"}}
WORST_CASE = Quantity(metric="accuracy", condition={"method": "worst-case"})
ROTATIONS = ("rotations",)
TOYS = ("toynorb-azimuth", "toynorb-equivariance", "claims/toynorb")
LAYER_RECORDS = ("equivariance", "claims/mnist")  # with attacks and numbers of layers
DASH = "–\u2060"  # at which no line ends: columns are narrow
READING = (
    "Means over seeds with their 95 % intervals, corrected for nothing. Each column is another "
    "task: only numbers of one column can be compared. A dash says that the record has no such "
    "number."
)


class Column(NamedTuple):
    """An accuracy of a record.

    Attributes:
        title: Heading.
        sources: Names of benchmarks, or of parts of claims as ``claims/part``; the first one that
            has a record counts.
        measure: Name of the measure.
        quantity: The accuracy.
    """

    title: str
    sources: tuple[str, ...]
    measure: str
    quantity: Quantity


def _novel(factor: str) -> Quantity:
    return Quantity(metric="accuracy", split="novel", factor=factor)


DIGIT_COLUMNS = (
    Column("Familiar", ROTATIONS, ACCURACY_BY_VIEW, FAMILIAR),
    Column("Rotated", ROTATIONS, ACCURACY_BY_VIEW, Quantity(**MERGED, factor="rotation")),
    Column("Shifted sideways", ROTATIONS, ACCURACY_BY_VIEW, _novel("shift_x")),
    Column("Scaled", ROTATIONS, ACCURACY_BY_VIEW, _novel("scale")),
    Column("Rotated and scaled", ("joint-views",), ACCURACY_BY_JOINT_VIEW, Quantity(**MERGED)),
    Column("Affine", ("affine",), ACCURACY_BY_VIEW, Quantity(**MERGED)),
    Column("Tilted", ("tilts",), ACCURACY_BY_VIEW, _novel("tilt_x")),
    Column("affNIST-like", ("affnist",), ACCURACY_BY_SPLIT, NOVEL),
    Column("Attacked", LAYER_RECORDS, "attacks", WORST_CASE),
    Column("Trained at all angles", ("rotmnist",), ACCURACY_BY_SPLIT, FAMILIAR),
)
OBJECT_COLUMNS = (
    Column("Familiar toys", TOYS, ACCURACY_BY_SPLIT, FAMILIAR),
    Column("Novel azimuth", TOYS, ACCURACY_BY_SPLIT, NOVEL),
    Column("Novel elevation", ("toynorb-elevation",), ACCURACY_BY_SPLIT, NOVEL),
    Column("Either or both novel", ("toynorb-joint",), ACCURACY_BY_JOINT_VIEW, NOVEL),
    Column("COIL-20, novel azimuth", ("coil-azimuth",), ACCURACY_BY_SPLIT, NOVEL),
    Column("ETH-80, novel elevation", ("eth80-elevation",), ACCURACY_BY_SPLIT, NOVEL),
)
ROUTING_COLUMNS = (
    Column("Familiar digits", ("routings/mnist",), ACCURACY_BY_VIEW, FAMILIAR),
    Column("Rotated", ("routings/mnist",), ACCURACY_BY_VIEW, Quantity(**MERGED, factor="rotation")),
    Column("Shifted sideways", ("routings/mnist",), ACCURACY_BY_VIEW, _novel("shift_x")),
    Column("Scaled", ("routings/mnist",), ACCURACY_BY_VIEW, _novel("scale")),
    Column("Familiar toys", ("routings/toynorb",), ACCURACY_BY_SPLIT, FAMILIAR),
    Column("Novel azimuth", ("routings/toynorb",), ACCURACY_BY_SPLIT, NOVEL),
)
Sources = Mapping[str, Mapping[str, Sequence[CellResult]]]  # cells by label, by record


def leaderboards(
    exported: Sequence[ExportedResults], claims: Sequence[ExportedClaims]
) -> list[Table]:
    """Return the leaderboards of networks on digits and on objects, and of routings on one stem.

    They hold what was measured at scale cpu without further changes; records of earlier revisions
    and models that were trained elsewhere are left out. Of several records of one benchmark the one
    with the most cells counts. Tables without a number are left out.

    Args:
        exported: Exported records of benchmarks.
        claims: Those of claims.
    """
    sources = _sources(exported, claims)
    tests = [test.test for each in claims for claim in each.judged for test in claim.primary]
    tables = (
        _leaderboard("digits", "Leaderboard: digits", sources, DIGIT_COLUMNS, tests),
        _leaderboard("objects", "Leaderboard: objects", sources, OBJECT_COLUMNS, tests),
        _leaderboard("routings", "Routings on one stem", sources, ROUTING_COLUMNS, tests),
    )
    return [table for table in tables if table is not None]


def _sources(exported: Sequence[ExportedResults], claims: Sequence[ExportedClaims]) -> Sources:
    records: list[tuple[str, Sequence[CellResult]]] = [
        (each.name, each.cells)
        for each in exported
        if each.results.record.changes == ProtocolChanges(scale=SCALE)
    ]
    records += [
        (f"{each.name}/{part}", cells)
        for each in claims
        if each.size == SCALE
        for part, cells in each.parts.items()
    ]
    records_by_name: dict[str, Sequence[CellResult]] = {}
    for name, cells in records:
        if not earlier_revisions(cells) and len(cells) > len(records_by_name.get(name, ())):
            records_by_name[name] = cells
    return {name: _by_label(cells) for name, cells in records_by_name.items()}


def _by_label(cells: Iterable[CellResult]) -> dict[str, list[CellResult]]:
    groups: dict[str, list[CellResult]] = {}
    for cell in cells:
        if not cell.trained_elsewhere:
            groups.setdefault(cell.label, []).append(cell)
    return groups


def _leaderboard(
    name: str,
    title: str,
    sources: Sources,
    columns: Sequence[Column],
    tests: Sequence[ClaimTest],
) -> Table | None:
    """Return one row per network; None if there is no number.

    Args:
        name: Anchor.
        title: Heading.
        sources: Cells of each record.
        columns: The accuracies; those without a record are left out.
        tests: Primary tests of claims; what training adds to the layers that they compare is a
            column.
    """
    measured_columns = [
        (column, source)
        for column in columns
        if (source := _first(column.sources, sources)) is not None
    ]
    if not measured_columns:
        return None
    used = list(dict.fromkeys(source for _, source in measured_columns))
    layer_record = next((name for name in LAYER_RECORDS if name in used), None)
    layers = _layers(tests) if layer_record else {}
    layer_cells = sources[layer_record] if layer_record else {}
    rows, augmented = [], []
    for label in dict.fromkeys(label for source in used for label in sources[source]):
        accuracies = [
            _cell(aggregate_seeds(sources[source].get(label, ()), column.measure, column.quantity))
            for column, source in measured_columns
        ]
        gain = [_gain(layer_cells.get(label, ()), layers.get(label))] if layers else []
        own = [sources[source][label] for source in used if label in sources[source]]
        if any(_augmented(cells) for cells in own):
            augmented.append(label)
        time = _time(sources[used[0]].get(label, ()))
        rows.append(TableRow((label, *accuracies, *gain, *_sizes(own[0]), time)))
    gained = ["Equivariance gained"] if layers else []
    return Table(
        name=name,
        title=f"{title} (accuracy in %)",
        columns=(
            *text_columns("Network"),
            *number_columns(*(column.title for column, _ in measured_columns), *gained),
            *number_columns("Parameters", "Operations", "Training time"),
        ),
        rows=tuple(rows),
        caption=_caption(measured_columns, bool(layers), used[0], augmented),
    )


def _first(names: Sequence[str], sources: Sources) -> str | None:
    """Return the first name that has a record; None if none has."""
    return next((name for name in names if name in sources), None)


def _layers(tests: Sequence[ClaimTest]) -> dict[str, tuple[str, Quantity]]:
    """Return measure and quantity of the layer that claims compare, by the network's label."""
    layers = {}
    for test in tests:
        if not test.learned or test.quantity.layer is None:
            continue
        layers[test.model] = test.measure, test.quantity
        layers[test.against] = test.measure, test.against_quantity or test.quantity
    return layers


def _cell(values: SeedValues | None, unit: str = "share") -> TableCell | None:
    if values is None:
        return None
    bare = NUMBER_FORMATS[unit].bare
    between = DASH if unit == "share" else " to "  # beside which a minus sign may stand
    interval = between.join(map(bare, values.interval or ()))
    note = chance_text(values.at_chance)
    return TableCell(bare(values.mean), details=interval, note=note, number=values.mean)


def _gain(cells: Sequence[CellResult], layer: tuple[str, Quantity] | None) -> TableCell | None:
    return None if layer is None else _cell(seed_gains(cells, *layer), "number")


def _sizes(cells: Sequence[CellResult]) -> tuple[TableCell | None, ...]:
    """Return parameters and operations of a network."""
    parameters = next((cell.parameters for cell in cells if cell.parameters), None)
    operations = next((cell.flops for cell in cells if cell.flops), None)
    return tuple(
        None if number is None else TableCell(f"{number:,}", number=number)
        for number in (parameters, operations)
    )


def _augmented(cells: Sequence[CellResult]) -> bool:
    """Return True if a network was trained on augmented images."""
    return any(cell.config and cell.config.recipe.augmentation for cell in cells)


def _time(cells: Sequence[CellResult]) -> TableCell | None:
    """Return the median over seeds, since other work on the machine delays single trainings."""
    trainings = [cell.training for cell in cells if cell.training]
    seconds = [training.seconds for training in trainings if training.status == "trained"]
    return TableCell(NUMBER_FORMATS["seconds"].text(median(seconds))) if seconds else None


def _caption(
    columns: Sequence[tuple[Column, str]],
    layers: bool,
    first: str,
    augmented: Sequence[str],
) -> str:
    records = "; ".join(f"{column.title}: {source}" for column, source in columns)
    attacked = (
        " Attacked is the accuracy on the worst of all attacks for each image; claims attack more "
        "images with more steps."
        if any(column.measure == "attacks" for column, _ in columns)
        else ""
    )
    gained = (
        " Equivariance gained is what training adds to R² of a linear map of the layer that the "
        "claims compare, class poses or the hidden layer, at quarter turns. It is negative if "
        "training lowers R². Networks that no claim compares have none."
        if layers
        else ""
    )
    merged = any(column.quantity.metric == MERGED_ACCURACY for column, _ in columns)
    alike = " Where 6s and 9s are turned, both count as one class." if merged else ""
    wider = (
        " Trained on augmented images, which can show views that count as novel: "
        f"{listed(augmented)}."
        if augmented
        else ""
    )
    return (
        f"At scale {SCALE}, where every network is tuned by an equal search on each data set. "
        f"{READING}{alike}{wider} Records: {records}.{attacked}{gained} Parameters and operations "
        "of one image are those of the first record that has the network. Training time is the "
        f"median over seeds of {first}."
    )
