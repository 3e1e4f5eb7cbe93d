"""Records of a benchmark in one file, to be shared: all numbers, without weights and images."""

from __future__ import annotations

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

from pydantic import Field, model_validator

from capsbench.errors import UserError
from capsbench.files.atomic import Row
from capsbench.fingerprint import fingerprint
from capsbench.names import is_own_file
from capsbench.records import (
    BenchmarkRecord,
    CellFolder,
    CellReference,
    CellResult,
    MeasureRecord,
    Results,
    TrainingConfig,
    TrainingRecord,
    load_results,
)
from capsbench.records.failure import FailureRecord
from capsbench.records.folders import file_name, search_file
from capsbench.records.measure import require_declared
from capsbench.records.one_version import require_one_version
from capsbench.records.record import Count, Record, RecordPart, Share
from capsbench.records.training import ExecutionRecord
from capsbench.records.trajectory import check_rows
from capsbench.reporting.comparisons.differences import ModelDifference, model_differences
from capsbench.reporting.formatting import listed
from capsbench.schema import load_benchmark
from capsbench.statistics.paired_difference import Difference
from capsbench.values import Number, Quantity

EXPORTED_EXECUTION = {"device", "device_name", "devices", "nodes", "backend"}
# Fields of a benchmark that are read from the shipped file instead of the exported one.
TEXT_FIELDS = ("title", "question", "source", "conflicts", "related", "expected", "published")
MAY_BE_NAN = ("standard_error", "degrees", "p", "p_corrected")  # of a `Difference`
FOLDER_OPTIONS = ("--data-root", "--output")
EXPORT_REMEDY = "export it again with 'capsbench report --export DIR'"


class ExportedCell(RecordPart):
    """A finished cell: its records, without the folder and the details of one machine.

    They are refused if one does not fit the others, or its own fingerprint.
    """

    reference: CellReference
    config: TrainingConfig
    training: TrainingRecord
    trajectory: tuple[Row, ...]
    measures: dict[str, MeasureRecord]

    @model_validator(mode="after")
    def _belong_together(self) -> Self:
        folder = self.config.folder_name
        if (
            self.reference.path.rpartition("/")[2] != folder
            or self.reference.seed != self.config.seed
        ):
            raise ValueError(f"the training has the fingerprint of a folder '{folder}'")
        check_rows(self.trajectory, self.config, self.training)
        for measure, record in self.measures.items():
            require_declared(measure, record)
            name, expected = self.reference.measures.get(measure, ""), record.fingerprint
            if expected is not None and not name.endswith(f"-{expected}"):
                raise ValueError(f"the record of {measure} is that of other arguments or sources")
        owners = {self.training.cell, *(record.cell for record in self.measures.values())}
        if others := owners - {folder, None}:
            raise ValueError(f"it has a record of another cell, {others.pop()}")
        return self

    @classmethod
    def of(cls, cell: CellResult) -> Self:
        """Convert a finished cell for export."""
        assert cell.config is not None
        assert cell.training is not None
        execution = cell.training.execution.model_dump(include=EXPORTED_EXECUTION)
        return cls(
            reference=cell.reference,
            config=cell.config,
            training=cell.training.model_copy(
                update={"execution": ExecutionRecord.model_validate(execution)}
            ),
            trajectory=tuple(cell.trajectory),
            measures=cell.measures,
        )

    def result(self, path: Path) -> CellResult:
        """Return the cell as reports read it, from an exported file at a path."""
        return CellResult(
            reference=self.reference,
            folder=CellFolder(path.parent / self.reference.path),
            config=self.config,
            training=self.training,
            trajectory=list(self.trajectory),
            measures=self.measures,
        )


class ExportedFailure(RecordPart):
    """A failed cell, without its log and traceback, which are of one machine."""

    reference: CellReference
    failure: FailureRecord

    @classmethod
    def of(cls, cell: CellResult) -> Self:
        """Convert a failed cell for export."""
        assert cell.failure is not None
        private = {"log": None, "traceback": "", "host": ""}
        return cls(reference=cell.reference, failure=cell.failure.model_copy(update=private))

    def result(self, path: Path) -> CellResult:
        """Return the cell as reports read it, from an exported file at a path."""
        folder = CellFolder(path.parent / self.reference.path)
        return CellResult(self.reference, folder, None, None, [], {}, failure=self.failure)


class ExportedNumbers(RecordPart):
    """Numbers of a `Difference` as JSON, which has no NaN: None if undefined."""

    mean: Number
    standard_error: Number | None = Field(default=None, gt=0)
    degrees: Number | None = Field(default=None, gt=0)
    interval: tuple[Number, Number] | None = None
    p: Share | None = None
    p_corrected: Share | None = None
    n_seeds: tuple[Count, Count]
    n_images: Count
    n_objects: Count | None = None
    comparisons: Count = 1
    bounds: tuple[Number, Number] | None = None

    @classmethod
    def of(cls, difference: Difference) -> ExportedNumbers:
        """Convert a difference for export."""
        numbers = difference._asdict()
        undefined = {name: None for name in MAY_BE_NAN if math.isnan(numbers[name])}
        return ExportedNumbers(**(numbers | undefined))

    @property
    def difference(self) -> Difference:
        """The difference as before the export.

        Records from before November 30, 2026 have no standard errors. Their intervals and p-values
        came from a bootstrap whose p-values were too small, and are left out.
        """
        numbers = {name: getattr(self, name) for name in Difference._fields}
        if self.standard_error is None:
            numbers |= {"interval": None, "p": None, "p_corrected": None}
        undefined = {name: math.nan for name in MAY_BE_NAN if numbers[name] is None}
        return Difference(**(numbers | undefined))


class ExportedDifference(RecordPart):
    """A difference between two models, which needs per-image outcomes to be computed."""

    title: str
    measure: str
    quantity: Quantity
    numbers: ExportedNumbers


class BenchmarkExport(Record):
    """Contents of an exported file.

    Attributes:
        record: Record of the benchmark, with the exported cells alone.
        cells: The finished cells.
        failed: The failed cells; none in records from before November 29, 2026.
        differences: Differences between the models.
    """

    remedy = EXPORT_REMEDY
    indent = None  # hundreds of thousands of numbers

    record: BenchmarkRecord
    cells: tuple[ExportedCell, ...]
    failed: tuple[ExportedFailure, ...] = ()
    differences: tuple[ExportedDifference, ...]


@dataclass(frozen=True)
class ExportedResults:
    """An exported file as reports read it.

    Attributes:
        path: The file.
        results: The records.
        differences: Differences between the models.
    """

    path: Path
    results: Results
    differences: list[ModelDifference]

    @property
    def name(self) -> str:
        """Name of the benchmark, and of the folder that the file belongs to."""
        return self.results.benchmark.name

    @property
    def version(self) -> int:
        """Version of the protocol."""
        return self.results.benchmark.version

    @property
    def size(self) -> str:
        """One word: ``full``, the name of a scale, or ``changed``."""
        return self.results.record.size

    @property
    def cells(self) -> tuple[CellResult, ...]:
        """The finished cells."""
        return tuple(cell for cell in self.results.cells if cell.failure is None)

    @property
    def failed(self) -> tuple[CellResult, ...]:
        """The failed cells."""
        return tuple(cell for cell in self.results.cells if cell.failure is not None)


def export_benchmark(folder: Path, into: Path) -> Path:
    """Export the finished cells of a benchmark to one file, with the reasons of the failed ones.

    Models that were trained elsewhere are no part of the protocol, and are left out. The record of
    a search is also written to a file of its own, ``searches/<name>.json``.

    Args:
        folder: ``runs/<benchmark>``.
        into: Folder of results; the file is ``<benchmark>/<size>-<fingerprint>.json`` in it, the
            same one for the same planned cells, however many of them are finished.

    Returns:
        The file.

    Raises:
        UserError: No cell is finished, a model is from a file of the user's own, or a record is
            damaged.
    """
    everything = load_results(folder)
    results = everything.under_protocol()
    cells = [cell for cell in results.cells if cell.problem is None or _diverged(cell)]
    if everything.cells and not results.cells:
        raise UserError(f"{folder} has only models that were trained elsewhere; none is exported")
    if not cells:
        raise UserError(f"{folder} has no finished cell to export; run the benchmark first")
    failed = [cell for cell in results.cells if cell.failure is not None]
    require_registered(folder, [*cells, *failed])
    paths = {cell.reference.path for cell in (*cells, *failed)}
    record = results.record.model_copy(
        update={
            "cells": tuple(each for each in results.record.cells if each.path in paths),
            "examples": None,
            "command": portable(results.record.command),
        }
    )
    finished = replace(results, record=record, cells=tuple(cells))
    path = into / results.benchmark.name / export_name(results.record)
    BenchmarkExport(
        record=record,
        cells=tuple(ExportedCell.of(cell) for cell in cells),
        failed=tuple(map(ExportedFailure.of, failed)),
        differences=tuple(_exported(each) for each in model_differences(finished)),
    ).save(path)
    if record.search is not None:
        record.search.save(search_file(into, record.search.name))
    return path


def require_registered(where: Path, cells: Sequence[CellResult]) -> None:
    """Refuse cells of a class in a user's own file, which nobody else can build or check.

    Args:
        where: Folder or file of the cells, for the message.
        cells: The cells.

    Raises:
        UserError: The model or the data of a cell is such a class.
    """
    configs = [(cell.label, cell.config) for cell in cells if cell.config]
    own = [label for label, config in configs if is_own_file(config.model.name)]
    own += [c.data.name.partition("@")[0] for _, c in configs if is_own_file(c.data.name)]
    if own:
        raise UserError(
            f"{where}: {listed(list(dict.fromkeys(own)))} came from a file of your own, which "
            "others do not have; register a name in a package (docs/add-a-model.md), run the "
            "benchmark with that name, and export the record again"
        )


def export_name(record: BenchmarkRecord) -> str:
    """Return the name of a benchmark's exported file, from its size and its planned cells."""
    planned = [cell.model_dump(mode="json") for cell in record.cells]
    return f"{file_name(record.size)}-{fingerprint([record.benchmark.name, *planned])}.json"


def load_export(path: Path) -> ExportedResults:
    """Load an exported file.

    Raises:
        UserError: It does not fit the schema, or its cells are of different revisions.
    """
    return exported_results(path, BenchmarkExport.load(path))


def exported_results(path: Path, content: BenchmarkExport) -> ExportedResults:
    """Return the contents of a file as reports read them, see `load_export`."""
    order = {cell.path: place for place, cell in enumerate(content.record.cells)}
    exported: list[ExportedCell | ExportedFailure] = [*content.cells, *content.failed]
    in_order = sorted(exported, key=lambda each: order.get(each.reference.path, len(order)))
    cells = tuple(each.result(path) for each in in_order)
    require_one_version(path, cells)
    differences = [
        ModelDifference(each.title, each.measure, each.quantity, each.numbers.difference)
        for each in content.differences
    ]
    return ExportedResults(path, Results(content.record, cells), differences)


def with_shipped_texts(exported: ExportedResults) -> ExportedResults:
    """Replace title, sources and published numbers of exported results by the shipped ones."""
    record = exported.results.record
    shipped = load_benchmark(record.benchmark.name)
    texts = {name: getattr(shipped, name) for name in TEXT_FIELDS}
    record = record.model_copy(update={"benchmark": record.benchmark.model_copy(update=texts)})
    return replace(exported, results=replace(exported.results, record=record))


def portable(command: str) -> str:
    """Return a command without the folders of the machine on which it was run.

    >>> portable("capsbench run quick --data-root /data --seeds 0 --output=/tmp/runs")
    'capsbench run quick --seeds 0'
    """
    words, remaining = iter(shlex.split(command)), []
    for word in words:
        option, equals, _ = word.partition("=")
        if option not in FOLDER_OPTIONS:
            remaining.append(word)
        elif not equals:
            next(words, None)
    return shlex.join(remaining)


def _diverged(cell: CellResult) -> bool:
    return cell.training is not None and cell.training.status == "diverged"


def _exported(row: ModelDifference) -> ExportedDifference:
    return ExportedDifference(
        title=row.title,
        measure=row.measure,
        quantity=row.quantity,
        numbers=ExportedNumbers.of(row.difference),
    )
