"""Records of one benchmark from several runs folders: what is united, what is in conflict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from capsbench.errors import UserError
from capsbench.files.atomic import is_present
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellReference,
    ClaimsRecord,
)
from capsbench.records.one_version import require_one_version
from capsbench.running.merging.protocols import differing, has_trainings, protocol_differences
from capsbench.running.merging.source import CellSource, Piece
from capsbench.running.merging.united_record import united_record

MAX_DIFFERENCES = 4  # that a conflict names
Load = Callable[[Path, str], CellSource]  # a cell of a runs folder, by its folder


class BenchmarkSource(NamedTuple):
    """Record of a benchmark in a runs folder."""

    runs: Path
    record: BenchmarkRecord


class ClaimsSource(NamedTuple):
    """Record of claims in a runs folder."""

    runs: Path
    record: ClaimsRecord


@dataclass(frozen=True)
class RecordPlan:
    """The work on the record of one benchmark or of claims.

    Attributes:
        name: Name of its folder.
        record: The record to be written; None if that of the target is complete, or in conflict.
        before: Record of the target; None if it has none.
        pieces: Files to be copied before.
        conflicts: A sentence on each conflict.
    """

    name: str
    record: BenchmarkRecord | ClaimsRecord | None = None
    before: BenchmarkRecord | ClaimsRecord | None = None
    pieces: tuple[Piece, ...] = ()
    conflicts: tuple[str, ...] = ()


def plan_claims(name: str, sources: Sequence[ClaimsSource], into: Path) -> RecordPlan:
    """Return the work on the record of claims, which must be the same in all folders.

    Args:
        name: Name of the folder.
        sources: The records, that of the target first if it has one.
        into: The target.
    """
    first = sources[0]
    conflicts = []
    for other in sources[1:]:
        contents = [
            each.record.model_dump(mode="json", include={"claims", "scale", "parts"})
            for each in (first, other)
        ]
        if texts := list(differing(*contents)):
            paths = [BenchmarkFolder(each.runs / name).claims for each in (first, other)]
            conflicts.append(_conflict(paths[0], paths[1], texts))
    before = first.record if first.runs == into else None
    return RecordPlan(
        name,
        None if before or conflicts else first.record,
        before,
        conflicts=tuple(conflicts),
    )


def plan_benchmark(
    name: str, sources: Sequence[BenchmarkSource], into: Path, load: Load
) -> RecordPlan:
    """Return the work on the record of a benchmark.

    Args:
        name: Name of the folder.
        sources: The records, that of the target first if it has one.
        into: The target.
        load: Reads a cell, see `CellSource.load`.

    Raises:
        UserError: A record of a cell is damaged, or a process works on one.
    """
    trained = [source for source in sources if has_trainings(source.record)]
    base = (trained or sources)[0]
    conflicts = []
    for other in sources:
        if other is not base and (texts := list(protocol_differences(base.record, other.record))):
            paths = [BenchmarkFolder(each.runs / name).record for each in (base, other)]
            conflicts.append(_conflict(paths[0], paths[1], texts))
    before = sources[0].record if sources[0].runs == into else None
    if not conflicts:
        conflicts += _cell_conflicts(sources, name, load)
    if conflicts:
        return RecordPlan(name, before=before, conflicts=tuple(conflicts))
    record = united_record([s.record for s in trained or sources], [s.record for s in sources])
    if before is not None:
        record = record.model_copy(update={"examples": before.examples})
        if before.model_copy(update={"provenance": record.provenance}) == record:
            return RecordPlan(name, before=before)
    examples = BenchmarkFolder(base.runs / name).examples
    pieces = []
    if before is None and base.record.examples is not None and is_present(examples):
        place = examples.relative_to(base.runs).as_posix()
        pieces = [Piece(examples, place, base.record.examples.sha256)]
    return RecordPlan(name, record, before, tuple(pieces))


def _conflict(one: Path, other: Path, texts: Sequence[str]) -> str:
    more = len(texts) - MAX_DIFFERENCES
    listed = ", ".join(texts[:MAX_DIFFERENCES]) + (f", and {more} more" if more > 0 else "")
    return f"{one} and {other} have another protocol: {listed}; merge them into separate folders"


def _cell_conflicts(sources: Sequence[BenchmarkSource], name: str, load: Load) -> Iterator[str]:
    """Yield a sentence on each cell that is another one in another folder, or of another version.

    Raises:
        UserError: A record of a cell is damaged.
    """
    first: dict[tuple[Any, ...], tuple[BenchmarkSource, CellReference]] = {}
    for source in sources:
        for cell in source.record.cells:
            key = (cell.label, cell.seed, cell.at)
            before, known = first.setdefault(key, (source, cell))
            place = BenchmarkFolder(before.runs / name).record
            here = BenchmarkFolder(source.runs / name).record
            start = f"{place} and {here} have, as {cell.title}, seed {cell.seed}, other"
            if known.path != cell.path:
                yield f"{start} trainings, {known.path} and {cell.path}: remove one of the records"
            elif known.measures != cell.measures:
                texts = ", ".join(differing(known.measures, cell.measures))
                yield f"{start} measures, {texts}: run the older one again"
    trained = {cell.label for s in sources for cell in s.record.cells if not cell.trained_elsewhere}
    for source, cell in first.values():
        if cell.trained_elsewhere and cell.label in trained:
            yield (
                f"label '{cell.label}' is that of a model that was trained elsewhere, in "
                f"{source.runs / cell.path}, and of a model of the protocol: remove one of them"
            )
    loaded = {
        cell.path: load(source.runs, cell.path).result(cell)
        for source in reversed(sources)
        for cell in source.record.cells
        if is_present(source.runs / cell.path)
    }
    try:
        require_one_version(f"the merged '{name}'", list(loaded.values()))
    except UserError as error:
        yield str(error)
