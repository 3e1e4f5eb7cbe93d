"""Runs folders of several machines as one: all conflicts first, then verified copies."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from filecmp import cmp
from functools import cache
from hashlib import sha256
from pathlib import Path

from capsbench.errors import UserError
from capsbench.files.atomic import is_present, remove, write_file
from capsbench.files.content import CHUNK
from capsbench.files.lease import Lease, try_lease
from capsbench.files.leftovers import clear_leftovers
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellFolder,
    ClaimsRecord,
    benchmarks_in,
)
from capsbench.records.cell_files import require_sha256
from capsbench.records.folders import cells_in, search_file
from capsbench.records.record import REMEDY, damaged_record
from capsbench.running.merging.benchmarks import (
    BenchmarkSource,
    ClaimsSource,
    Load,
    RecordPlan,
    plan_benchmark,
    plan_claims,
)
from capsbench.running.merging.cells import CellPlan, plan_cell
from capsbench.running.merging.source import CellSource, Piece


@dataclass(frozen=True)
class MergePlan:
    """Work of a merge, known before anything is written.

    Attributes:
        into: The target.
        cells: The work on each cell.
        records: The work on the record of each benchmark and of claims.
        problems: A sentence on each conflict, damaged record and running process.
    """

    into: Path
    cells: tuple[CellPlan, ...]
    records: tuple[RecordPlan, ...]
    problems: tuple[str, ...]

    @property
    def copied(self) -> list[CellPlan]:
        """Cells of which files are copied."""
        return [cell for cell in self.cells if cell.pieces]

    @property
    def num_files(self) -> int:
        """Number of files that are copied."""
        return sum(len(cell.pieces) for cell in self.cells) + sum(
            len(record.pieces) for record in self.records
        )

    @property
    def written(self) -> list[RecordPlan]:
        """Records of benchmarks and claims that are written."""
        return [record for record in self.records if record.record is not None]

    @property
    def notes(self) -> dict[str, list[str]]:
        """Cells by the decision that was made on them."""
        notes: dict[str, list[str]] = {}
        for cell in self.cells:
            for note in cell.notes:
                notes.setdefault(note, []).append(cell.path)
        return notes


def plan_merge(folders: Sequence[Path], into: Path) -> MergePlan:
    """List what a merge copies, and all that prevents it; writes nothing.

    The target may have records: it is then the first of the folders.

    Args:
        folders: Runs folders.
        into: The target.

    Raises:
        UserError: A folder holds no records.
    """
    for folder in folders:
        if not cells_in(folder) and not benchmarks_in(folder):
            problem = "holds no records" if folder.is_dir() else "is not a folder"
            raise UserError(f"{folder} {problem}; name folders of runs, such as runs")
    others = {each.resolve(): each for each in reversed(folders)}
    others.pop(into.resolve(), None)
    inputs = [into, *reversed(others.values())]
    problems: list[str] = []
    load = cache(CellSource.load)
    cells = list(_plan_cells(inputs, problems, load))
    records = list(_plan_records(inputs, problems, load))
    plans: list[CellPlan | RecordPlan] = [*cells, *records]
    problems += [text for plan in plans for text in plan.conflicts]
    for piece in (piece for plan in plans for piece in plan.pieces):
        with _collected(problems):
            require_sha256(piece.source, piece.sha256, REMEDY)
    return MergePlan(into, tuple(cells), tuple(records), tuple(dict.fromkeys(problems)))


def _plan_cells(inputs: Sequence[Path], problems: list[str], load: Load) -> Iterator[CellPlan]:
    """Yield the work on each cell that a folder other than the first has."""
    places: dict[str, list[Path]] = {}
    for runs in inputs:
        for path in cells_in(runs):
            places.setdefault(path, []).append(runs)
    for path, having in sorted(places.items()):
        if having == inputs[:1]:
            continue
        sources = []
        for runs in having:
            with _collected(problems):
                sources.append(load(runs, path))
        if len(sources) == len(having):
            with _collected(problems):
                yield plan_cell(sources, inputs[0])


def _plan_records(inputs: Sequence[Path], problems: list[str], load: Load) -> Iterator[RecordPlan]:
    """Yield the work on each record of a benchmark, or of claims, of a folder but the first."""
    for name in sorted({name for runs in inputs[1:] for name in benchmarks_in(runs)}):
        benchmarks, claims, complete = [], [], True
        for runs in inputs:
            folder = BenchmarkFolder(runs / name)
            before = len(problems)
            with _collected(problems):
                if is_present(folder.record):
                    benchmarks.append(BenchmarkSource(runs, BenchmarkRecord.load(folder.record)))
                if is_present(folder.claims):
                    claims.append(ClaimsSource(runs, ClaimsRecord.load(folder.claims)))
            complete &= len(problems) == before
        with _collected(problems):
            if complete and benchmarks:
                yield plan_benchmark(name, benchmarks, inputs[0], load)
            if complete and claims:
                yield plan_claims(name, claims, inputs[0])


@contextmanager
def _collected(problems: list[str]) -> Iterator[None]:
    """Add the sentence of an error to the problems, so that all of them are listed."""
    try:
        yield
    except UserError as error:
        problems.append(str(error))


def carry_out(plan: MergePlan, on_copied: Callable[[], None] = lambda: None) -> None:
    """Copy the files of a merge without problems, and write its records.

    Each file is put in place by a rename, the record that completes a cell after its other files.
    After an interruption, the same merge continues: what was copied is equal then.

    Args:
        plan: The work.
        on_copied: Called after each file.

    Raises:
        UserError: A process works on a cell of the target, a file changed since the merge was
            planned, or cannot be written.
    """
    for cell in plan.cells:
        if cell.pieces or cell.superseded:
            _copy_cell(cell, plan.into, on_copied)
    for record in plan.written:
        _write_record(record, plan.into, on_copied)


def _copy_cell(cell: CellPlan, into: Path, on_copied: Callable[[], None]) -> None:
    folder = CellFolder(into / cell.path)
    with _held(folder.lease):
        for place in dict.fromkeys((into / piece.path).parent for piece in cell.pieces):
            clear_leftovers(place)  # of a merge that was killed
        for piece in cell.pieces:
            _copy(piece, into, on_copied)
        for path in cell.superseded:
            remove(path)
    CellSource.load(into, cell.path)  # verifies the records


def _write_record(plan: RecordPlan, into: Path, on_copied: Callable[[], None]) -> None:
    assert plan.record is not None
    folder = BenchmarkFolder(into / plan.name)
    is_claims = isinstance(plan.record, ClaimsRecord)
    path = folder.claims if is_claims else folder.record
    with _held(folder.lease):
        if (type(plan.record).load(path) if is_present(path) else None) != plan.before:
            raise UserError(f"{path} was written by another process meanwhile; repeat the command")
        for piece in plan.pieces:
            _copy(piece, into, on_copied)
        plan.record.save(path)
        if isinstance(plan.record, BenchmarkRecord) and (search := plan.record.search):
            search.save(search_file(into, search.name))


def _held(path: Path) -> Lease:
    """Return the lease of a folder of the target.

    Raises:
        UserError: Another process holds it.
    """
    if (lease := try_lease(path, "merging")) is None:
        raise UserError(
            f"another process is using {path.parent}: wait for it, and repeat the command"
        )
    return lease


def _copy(piece: Piece, into: Path, on_copied: Callable[[], None]) -> None:
    """Copy a file, and verify what is copied; an equal one is left as it is."""
    target = into / piece.path
    if not (target.is_file() and cmp(piece.source, target, shallow=False)):
        digest = sha256()
        with piece.source.open("rb") as source, write_file(target) as stream:
            while chunk := source.read(CHUNK):
                digest.update(chunk)
                stream.write(chunk)
            if piece.sha256 not in (None, digest.hexdigest()):
                reason = "it changed while it was copied"
                raise damaged_record(piece.source, reason, "repeat the command")
    on_copied()
