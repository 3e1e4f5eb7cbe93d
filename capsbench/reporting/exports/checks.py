"""Checks of exported records: what a file states is compared with what is shipped."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from capsbench.arguments import SUPPLIED_TO_DATA, SUPPLIED_TO_MODELS, resolve
from capsbench.errors import UserError
from capsbench.measures import MeasureConfig, load_measure, parse_config
from capsbench.names import Kind, find
from capsbench.records import (
    BenchmarkRecord,
    CellResult,
    MeasureRecord,
    TrainingConfig,
    TrainingRecord,
)
from capsbench.records.training import DataConfig, ModelConfig
from capsbench.reporting.comparisons.differences import ModelDifference
from capsbench.reporting.exports.export import ExportedResults, require_registered
from capsbench.reporting.exports.search_checks import check_search, check_searched
from capsbench.reporting.tables.quantity_text import measured_text
from capsbench.schema import Benchmark, build_benchmark, variants
from capsbench.schema.quantities import require_quantity
from capsbench.statistics.correction import corrected
from capsbench.statistics.paired_difference import Difference, with_t_test
from capsbench.training.devices import threads_on
from capsbench.training.selection import accuracy_column
from capsbench.viewpoint.grid import ViewGrid
from capsbench.wrapping import model_class

# Fields that determine the numbers of a protocol; the texts of the shipped file replace the others.
DETERMINING = (
    *("name", "version", "data", "views", "models", "vary", "recipe", "selection", "matched"),
    *("follow", "seeds", "threads", "measures"),
)
UNDEFINED = (math.nan, math.nan)  # an interval
TOLERANCE = 1e-6  # of numbers that were written, read and added up again


def check_export(exported: ExportedResults) -> None:
    """Check that a file states the shipped protocol, and holds its cells in full.

    The changes that the file names are made to the shipped benchmark again; the result must be the
    protocol of the file, and every cell one of its cells. Facts that cannot be checked here, such
    as the contents of the data or that a training took place, are trusted.

    Raises:
        UserError: A model is from a file of the user's own; the benchmark is unknown, has another
            version, or is another one; a search is not the one of the benchmark; a cell is not one
            of its cells, appears twice or is incomplete, or its parts contradict each other; a
            difference is not that of the cells.
    """
    path, record = exported.path, exported.results.record
    require_registered(path, exported.results.cells)
    shipped = _shipped(record)
    if shipped.version != record.benchmark.version:
        raise UserError(
            f"{path}: benchmark '{shipped.name}' has version {shipped.version} here, but the "
            f"record has version {record.benchmark.version}; run the benchmark again"
        )
    if record.changes.search:
        shipped = _searched(exported, shipped)
    expected, stated = (each.model_dump(mode="json") for each in (shipped, record.benchmark))
    if different := [name for name in DETERMINING if expected[name] != stated[name]]:
        raise UserError(
            f"{path}: with the changes that the record names, '{shipped.name}' has other "
            f"{', '.join(different)} here; export records of the shipped protocol"
        )
    check_cells(path, record.benchmark, exported.cells)
    for cell in exported.failed:
        protocol = variants(record.benchmark).get(cell.at)
        if protocol is None or not _is_cell(protocol, cell):
            raise UserError(
                f"{path}: {cell.title}, seed {cell.seed} is no cell of '{record.benchmark.name}'; "
                "export the record again"
            )
    for row in exported.differences:
        _check_difference(exported, row)
    check_tests(path, [row.difference for row in exported.differences])


def check_cells(path: Path, benchmark: Benchmark, cells: Sequence[CellResult]) -> None:
    """Check that cells are those of a benchmark, each once and in full.

    Args:
        path: The file that they come from.
        benchmark: The protocol.
        cells: The cells.

    Raises:
        UserError: They are not.
    """
    cell_keys = [(cell.label, cell.at, cell.seed) for cell in cells]
    if not cells or len(set(cell_keys)) < len(cell_keys):
        raise UserError(f"{path}: expected each cell once, and one or more; got {len(cells)}")
    protocols = variants(benchmark)
    for cell in cells:
        where = f"{path}: {cell.title}, seed {cell.seed}"
        protocol = protocols.get(cell.at)
        if protocol is None or not _is_cell(protocol, cell):
            raise UserError(f"{where} is no cell of '{benchmark.name}'; export the record again")
        if cell.config is None or not _is_training(protocol, cell, cell.config):
            raise UserError(f"{where} is not the training of the protocol; run the benchmark again")
        if cell.training is None or not _is_complete(protocol, cell, cell.training):
            raise UserError(f"{where} is incomplete; export the record again")
        if measure := _other_arguments(protocol, cell):
            raise UserError(
                f"{where}: {measure} was computed with other arguments than those of the protocol; "
                "run the benchmark again"
            )
        for name, record in cell.measures.items():
            if problem := _impossible_value(protocol, cell, name, record):
                raise UserError(f"{where}: {name}: {problem}; export the record again")


def _shipped(record: BenchmarkRecord) -> Benchmark:
    """Return the shipped benchmark with the changes that a record names."""
    changes = record.changes
    return build_benchmark(
        record.benchmark.name, changes.settings, scale=changes.scale, added=changes.added
    )


def _searched(exported: ExportedResults, shipped: Benchmark) -> Benchmark:
    """Return the shipped protocol with the values that the record's search has chosen.

    Raises:
        UserError: The record holds no search, that of another protocol, or one that is incomplete.
    """
    path, search = exported.path, exported.results.record.search
    tuned = {entry.label for entry in shipped.models if entry.tuned}
    tuned |= set() if search is None else {model.label for model in search.models}
    missing = {cell.label for cell in exported.results.cells} - tuned
    if search is None or missing:
        raise UserError(
            f"{path}: expected the recipe of the best of {shipped.search.trials} trials for every "
            f"model; run '{shipped.name}' with --search again"
        )
    check_search(path, search)
    for entry in shipped.models:
        if search.chosen(entry.label):
            where = f"{path}: {entry.label}"
            check_searched(where, search, shipped, search.protocol.scale, entry)
    models = tuple(map(search.applied_to, shipped.models))
    return shipped.model_copy(update={"models": models})


def _is_cell(protocol: Benchmark, cell: CellResult) -> bool:
    case = protocol.vary.case(cell.at) if protocol.vary and cell.at is not None else None
    known = cell.label in [each.label for each in protocol.models]
    return known and cell.seed in protocol.seeds and cell.reference.case == case


def _is_training(protocol: Benchmark, cell: CellResult, config: TrainingConfig) -> bool:
    """Check that a training has the model, data, views, recipe and threads of a protocol."""
    entry = next(each for each in protocol.models if each.label == cell.label)
    data = protocol.data
    expected = (protocol.recipe_of(entry), protocol.views, protocol.follow, cell.seed)
    device = None if cell.training is None else cell.training.execution.device
    return (
        (config.recipe, config.views, config.follow, config.seed) == expected
        and config.fingerprint == cell.reference.fingerprint
        and config.data.per_class == data.per_class
        and (device is None or config.threads == threads_on(device, protocol.threads))
        and _is_same("models", config.model, entry.name, entry.arguments, SUPPLIED_TO_MODELS)
        and _is_same("datamodules", config.data, data.name, data.arguments, SUPPLIED_TO_DATA)
    )


def _is_same(
    kind: Kind,
    config: ModelConfig | DataConfig,
    name: str,
    given: Mapping[str, Any],
    supplied: tuple[str, ...],
) -> bool:
    """Check name, revision and arguments; arguments that are not given have their defaults.

    Records of earlier revisions are kept, see `earlier_revisions`. They may have other arguments
    and defaults, and have all that the protocol states.
    """
    if config.name != name or not set(given) <= set(config.arguments):
        return False
    target = find(kind, name)
    cls: Any = model_class(target) if kind == "models" else target.load()
    revision = cls.revision_with(config.arguments) if kind == "models" else cls.revision
    expected = _as_json(resolve(cls, given, what=name, supplied=supplied))
    recorded: dict[str, Any] = _as_json(config.arguments)
    if config.revision < revision:
        return all(recorded[key] == value for key, value in _as_json(given).items())
    return config.revision == revision and all(
        key in expected and expected[key] == value for key, value in recorded.items()
    )


def _is_complete(protocol: Benchmark, cell: CellResult, training: TrainingRecord) -> bool:
    """Check that a cell has everything that tables are made of, of no unknown revision."""
    if training.status == "diverged":
        return True
    selected = training.selected.get(protocol.selection)
    steps = {row.get("step") for row in cell.trajectory}
    columns = [accuracy_column(split) for split in protocol.follow]
    names = set(cell.reference.measures)
    return (
        selected is not None
        and selected.step in steps
        and all(name in row for row in cell.trajectory for name in columns)
        and set(cell.measures) == names
        and names <= {config.measure for config in protocol.measures}
        and all(
            record.rule == protocol.selection and record.revision <= load_measure(name).revision
            for name, record in cell.measures.items()
        )
    )


def _other_arguments(protocol: Benchmark, cell: CellResult) -> str | None:
    """Return a measure that has other arguments than in the protocol; None if there is none.

    Layers are left out: a benchmark names those that a model has. A record of an earlier revision
    may have other arguments and defaults: it has all that the protocol states.
    """
    configs = {config.measure: config.for_model(cell.label) for config in protocol.measures}
    for name, record in cell.measures.items():
        if record.revision < load_measure(name).revision:
            stated = configs[name].model_fields_set - {"layers", "measure"}
            if not stated <= record.arguments.keys():
                return name
            recorded = parse_config(
                {"measure": name} | {field: record.arguments[field] for field in stated}
            )
            if any(getattr(recorded, field) != getattr(configs[name], field) for field in stated):
                return name
            continue
        given = parse_config(record.arguments | {"measure": name})
        if _without_layers(given) != _without_layers(configs[name]):
            return name
    return None


def _impossible_value(
    protocol: Benchmark, cell: CellResult, name: str, record: MeasureRecord
) -> str | None:
    """Return the reason why the protocol gives no such values; None if there is none."""
    config = next(each for each in protocol.measures if each.measure == name)
    config = config.for_model(cell.label)
    grids = [grid for _, grid in config if isinstance(grid, ViewGrid)]
    views = {(view.factor, view.value) for grid in grids for view in grid.views()}
    for quantity in {(v.split, v.factor): v.quantity for v in record.values}.values():
        require_quantity(name, quantity, [config])
    for value in record.values:
        if grids and value.view is not None and (value.factor, value.view) not in views:
            return f"{value.name} is of no view of the grid"
    named = [name for field in ("splits", "ranges") for name in dict(config).get(field, ())]
    missing = sorted({*named} - {value.split for value in record.values})
    return f"it has no value of the split {missing[0]}" if missing and not record.notes else None


def _without_layers(config: MeasureConfig) -> dict[str, Any]:
    return config.model_dump(exclude={"layers"})


def check_tests(path: Path, family: Sequence[Difference], comparisons: int | None = None) -> None:
    """Check that p-values and intervals follow from standard errors and the number of tests.

    Records from before November 30, 2026 have no standard errors, and state neither.

    Args:
        path: The file that they come from.
        family: Comparisons that are corrected together.
        comparisons: Size of the family, if some are missing.

    Raises:
        UserError: They do not.
    """
    known = [each for each in family if not math.isnan(each.standard_error)]
    again = corrected([with_t_test(each) for each in known], comparisons)
    if not all(
        one.comparisons == other.comparisons
        and np.allclose(
            [one.p, one.p_corrected, *(one.interval or UNDEFINED)],
            [other.p, other.p_corrected, *(other.interval or UNDEFINED)],
        )
        for one, other in zip(known, again, strict=True)
    ):
        raise UserError(
            f"{path}: a p-value or an interval does not follow from its standard error and the "
            "number of comparisons; export the record again"
        )


def _check_difference(exported: ExportedResults, row: ModelDifference) -> None:
    """Check that a difference of two models is that of their values, and lies in its interval."""
    groups = exported.results.by_label()
    own = groups.get(row.title, [])
    first = next(iter(exported.results.by_label(own[0].at if own else None)))
    sides = [
        [
            value
            for cell in groups.get(title, [])
            if (record := cell.measures.get(row.measure))
            and (value := record.get(row.quantity)) is not None
        ]
        for title in (row.title, first)
    ]
    mean = row.difference.mean
    low, high = row.difference.interval or (-math.inf, math.inf)
    if not (
        all(sides)
        and math.isclose(fmean(sides[0]) - fmean(sides[1]), mean, abs_tol=TOLERANCE)
        and row.difference.n_seeds == (len(sides[0]), len(sides[1]))
        and low <= mean <= high
    ):
        raise UserError(
            f"{exported.path}: the difference of {measured_text(row.measure, row.quantity)} "
            f"between {row.title} and {first} is not that of their values; export the record again"
        )


def _as_json(value: Any) -> Any:
    """Return a value as JSON has it, with lists for tuples."""
    return json.loads(json.dumps(value, sort_keys=True))
