"""A benchmark's records in one file, to be kept and shared: all numbers, no weights, no images."""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from capsbench.arguments import one_line
from capsbench.errors import UserError
from capsbench.records import SCHEMA, CellFolder, Row, fingerprint, read_json, write_json
from capsbench.reporting.differences import DifferenceRow, differences
from capsbench.reporting.results import (
    Cell,
    CellEntry,
    Config,
    Measurement,
    Protocol,
    Results,
    Training,
    load,
)
from capsbench.schema import load_benchmark
from capsbench.statistics.paired_difference import Difference

KEPT = ("device", "device_name", "devices", "nodes", "backend")  # of a training's execution
# Of a kept record the shipped ones are shown.
WORDS = ("title", "question", "source", "conflicts", "related", "expected", "published")
FOLDERS = ("--data-root", "--output")


class ExportedCell(BaseModel):
    """A cell without its folder."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    entry: CellEntry
    config: Config
    training: Training
    trajectory: list[Row]
    measurements: dict[str, Measurement]

    def cell(self, path: Path) -> Cell:
        """The cell as reports read it, from a file at a path."""
        return Cell(
            **vars(self.entry),
            folder=CellFolder(path.parent / self.entry.path),
            config=self.config,
            training=self.training,
            trajectory=self.trajectory,
            measurements=self.measurements,
        )


class ExportedNumbers(BaseModel):
    """The numbers of a difference; what is undefined is left out."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    mean: float
    interval: tuple[float, float] | None = None
    p: float | None = None
    p_corrected: float | None = None
    n_seeds: tuple[int, int]
    n_images: int
    comparisons: int
    n_objects: int | None = None

    @staticmethod
    def numbers(found: Difference) -> dict[str, Any]:
        """A difference as it is exported."""
        return {name: None if _absent(v) else v for name, v in found._asdict().items()}

    @property
    def difference(self) -> Difference:
        """The difference as it was."""
        numbers = {name: getattr(self, name) for name in Difference._fields}
        undefined = {name: math.nan for name in ("p", "p_corrected") if numbers[name] is None}
        return Difference(**(numbers | undefined))


class ExportedDifference(ExportedNumbers):
    """A difference between two models, which needs the images' outcomes to be computed."""

    label: str
    index: int
    measure: str
    key: str

    @classmethod
    def of(cls, row: DifferenceRow) -> ExportedDifference:
        """A row as it is exported."""
        place = {name: getattr(row, name) for name in ("label", "index", "measure", "key")}
        return cls.model_validate({**place, **cls.numbers(row.found)})

    @property
    def row(self) -> DifferenceRow:
        """The row as it was."""
        return DifferenceRow(self.label, self.index, self.measure, self.key, self.difference)


class Exported(BaseModel):
    """The contents of an exported file."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    schema_: int = Field(alias="schema")
    protocol: Protocol
    cells: tuple[ExportedCell, ...]
    differences: tuple[ExportedDifference, ...]


@dataclass(frozen=True)
class Kept:
    """An exported file as reports read it.

    Attributes:
        path: The file.
        results: What the records said.
        differences: The differences between its models.
    """

    path: Path
    results: Results
    differences: list[DifferenceRow]

    @property
    def name(self) -> str:
        """The name of the benchmark, and of the folder that the file belongs in."""
        return self.results.benchmark.name


def export(folder: Path, into: Path) -> Path:
    """Put the finished cells of a benchmark in one file.

    Args:
        folder: ``runs/<benchmark>``.
        into: The folder of results; the file is ``<benchmark>/<scale>-<fingerprint>.json`` in it,
            the same one for the same planned cells, however many of them are finished.

    Returns:
        The file.

    Raises:
        UserError: Nothing is finished, or a record is damaged.
    """
    results = load(folder)
    cells = [cell for cell in results.cells if cell.problem is None or _diverged(cell)]
    if not cells:
        raise UserError(f"{folder} has no finished cell to export; run the benchmark first")
    listed = [_entry(cell) for cell in cells]
    command = portable(results.protocol.command)
    protocol = replace(results.protocol, cells=tuple(listed), examples=None, command=command)
    whole = replace(results, protocol=protocol, cells=tuple(cells))
    content = Exported.model_validate(
        {
            "schema": SCHEMA,
            "protocol": protocol,
            "cells": [exported_cell(cell) for cell in cells],
            "differences": [ExportedDifference.of(row) for row in differences(whole)],
        }
    )
    name = f"{_slug(protocol.size)}-{_fingerprint(results)}.json"
    path = into / protocol.benchmark.name / name
    write_json(path, content.model_dump(mode="json", exclude_none=True, by_alias=True))
    return path


def read_export(path: Path) -> Kept:
    """Read an exported file, and check that it fits the schema.

    Raises:
        UserError: It does not.
    """
    try:
        content = Exported.model_validate(read_json(path))
    except ValidationError as error:
        raise UserError(f"{path} is no exported record: {one_line(error)}") from None
    cells = tuple(each.cell(path) for each in content.cells)
    results = Results(content.protocol, cells, None)
    return Kept(path, results, [each.row for each in content.differences])


def exports_in(folder: Path) -> list[Kept]:
    """All exported files of benchmarks in a folder of results, by name.

    They are in the words of the shipped benchmarks, not in those of the day of the record.
    """
    files = sorted(folder.glob("*/*.json"))
    return [in_shipped_words(read_export(p)) for p in files if "protocol" in read_json(p)]


def in_shipped_words(kept: Kept) -> Kept:
    """A record with the titles, sources and published numbers of the shipped benchmark."""
    protocol = kept.results.protocol
    shipped = load_benchmark(protocol.benchmark.name)
    words = {name: getattr(shipped, name) for name in WORDS}
    protocol = replace(protocol, benchmark=protocol.benchmark.model_copy(update=words))
    return replace(kept, results=replace(kept.results, protocol=protocol))


def portable(command: str) -> str:
    """A command without the folders of the machine on which it was given.

    >>> portable("capsbench run quick --data-root /data --seeds 0 --output=/tmp/runs")
    'capsbench run quick --seeds 0'
    """
    words, kept = iter(shlex.split(command)), []
    for word in words:
        option, equals, _ = word.partition("=")
        if option not in FOLDERS:
            kept.append(word)
        elif not equals:
            next(words, None)
    return shlex.join(kept)


def _diverged(cell: Cell) -> bool:
    return cell.training is not None and cell.training.status == "diverged"


def _entry(cell: Cell) -> CellEntry:
    return CellEntry(cell.label, cell.model, cell.seed, cell.path, cell.measures, cell.at)


def exported_cell(cell: Cell) -> ExportedCell:
    """A finished cell without its folder."""
    assert cell.training is not None
    execution = {key: cell.training.execution.get(key) for key in KEPT}
    return ExportedCell.model_validate(
        {
            "entry": _entry(cell),
            "config": cell.config,
            "training": replace(cell.training, execution=execution),
            "trajectory": cell.trajectory,
            "measurements": cell.measurements,
        }
    )


def _fingerprint(results: Results) -> str:
    planned = TypeAdapter(list[CellEntry]).dump_python(list(results.protocol.cells), mode="json")
    return fingerprint([results.benchmark.name, *planned])


def _absent(value: object) -> bool:
    return isinstance(value, float) and math.isnan(value)


def _slug(text: str) -> str:
    return re.sub(r"[^a-z0-9]+", "-", text.lower())
