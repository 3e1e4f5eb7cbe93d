"""A benchmark's records in one file, to be kept and shared: all numbers, no weights, no images."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from capsbench.arguments import one_line
from capsbench.errors import UserError
from capsbench.measures.difference import Difference
from capsbench.records import SCHEMA, CellFolder, Row, fingerprint, read_json, write_json
from capsbench.reporting.differences import DifferenceRow, differences
from capsbench.reporting.results import (
    MODELS,
    SCALE,
    SEARCH,
    Cell,
    CellEntry,
    Config,
    Measurement,
    Protocol,
    Results,
    Training,
    load,
)
from capsbench.schema import Benchmark, load_benchmark, parse_changes, variants

KEPT = ("device", "device_name", "devices", "nodes", "routing")  # of a training's execution
# What makes a protocol the one that it is; the rest are words, of which the shipped ones are shown.
DETERMINING = (
    *("name", "version", "data", "views", "models", "vary", "recipe", "selection", "matched"),
    *("follow", "seeds", "measures"),
)
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
            "cells": [_exported(cell) for cell in cells],
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
    cells = tuple(
        Cell(
            **vars(each.entry),
            folder=CellFolder(path.parent / each.entry.path),
            config=each.config,
            training=each.training,
            trajectory=each.trajectory,
            measurements=each.measurements,
        )
        for each in content.cells
    )
    results = Results(content.protocol, cells, None)
    return Kept(path, results, [each.row for each in content.differences])


def exports_in(folder: Path) -> list[Kept]:
    """All exported files of benchmarks in a folder of results, by name.

    Titles, sources and published numbers are those of the shipped benchmarks, not those of the day
    of the record.
    """
    files = sorted(folder.glob("*/*.json"))
    return [_in_shipped_words(read_export(p)) for p in files if "protocol" in read_json(p)]


def _in_shipped_words(kept: Kept) -> Kept:
    protocol = kept.results.protocol
    shipped = load_benchmark(protocol.benchmark.name)
    words = {name: getattr(shipped, name) for name in WORDS}
    protocol = replace(protocol, benchmark=protocol.benchmark.model_copy(update=words))
    return replace(kept, results=replace(kept.results, protocol=protocol))


def check_export(kept: Kept) -> None:
    """Check that what a file says of its protocol is true of the benchmark that is shipped.

    Its changes are made to the shipped file anew: what comes out must be the protocol of the file,
    and every cell one of its cells.

    Raises:
        UserError: The benchmark is unknown, has another version, or is another one; a cell is none
            of its cells, a share lies outside of [0, 1], or a path leads out of the folder.
    """
    protocol = kept.results.protocol
    told = (SCALE, MODELS)  # these change no place of the file
    made = [c for c in protocol.changes if c != SEARCH and not c.startswith(told)]
    shipped = load_benchmark(protocol.benchmark.name, parse_changes(made))
    if shipped.version != protocol.benchmark.version:
        raise UserError(
            f"{kept.path}: benchmark '{shipped.name}' has version {shipped.version} here; the "
            f"record is of version {protocol.benchmark.version}"
        )
    searched = SEARCH in protocol.changes
    if different := [
        name
        for name in DETERMINING
        if _part(shipped, name, searched) != _part(protocol.benchmark, name, searched)
    ]:
        raise UserError(
            f"{kept.path}: with the changes that it names, '{shipped.name}' has other "
            f"{', '.join(different)} here; export records of the protocol as it is shipped"
        )
    protocols = variants(protocol.benchmark)
    for cell in kept.results.cells:
        place = f"{kept.path}: {cell.title}, seed {cell.seed}"
        asked = protocols.get(cell.at)
        entries = {} if asked is None else {entry.label: entry for entry in asked.models}
        if asked is None or cell.label not in entries or cell.seed not in asked.seeds:
            raise UserError(f"{place} is no cell of '{shipped.name}'")
        expected = (asked.recipe_of(entries[cell.label]), asked.views, asked.follow, cell.seed)
        found = cell.config
        if (
            found is None
            or found.fingerprint != cell.fingerprint
            or (found.recipe, found.views, found.follow, found.seed) != expected
        ):
            raise UserError(f"{place} is not the training that the protocol asks for")
        for key, value in _shares(cell.measurements.values()):
            if not 0 <= value <= 1:
                raise UserError(f"{place}: {key} should lie in [0, 1]; got {value:g}")


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


def _shares(measurements: Iterable[Measurement]) -> Iterable[tuple[str, float]]:
    for measurement in measurements:
        for key, value in measurement.values.items():
            if key.endswith("/accuracy") and not key.startswith("gap"):
                yield f"{measurement.measure}: {key}", value


def _part(benchmark: Benchmark, name: str, searched: bool) -> Any:
    part = benchmark.model_dump(mode="json")[name]
    if name == "models" and searched:  # a recipe that was found is no part of the protocol
        return [{key: each[key] for key in ("name", "label", "arguments")} for each in part]
    return part


def _diverged(cell: Cell) -> bool:
    return cell.training is not None and cell.training.status == "diverged"


def _entry(cell: Cell) -> CellEntry:
    return CellEntry(cell.label, cell.model, cell.seed, cell.path, cell.measures, cell.at)


def _exported(cell: Cell) -> ExportedCell:
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
