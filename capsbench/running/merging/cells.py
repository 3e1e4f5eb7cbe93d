"""Cells of several runs folders as one: what is copied, what is equal, what is in conflict."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from capsbench.files.atomic import is_present
from capsbench.pretrained import CONFIG, WEIGHTS
from capsbench.records import CellFolder
from capsbench.records.cell_files import load_failure
from capsbench.running.merging.differences import cell_difference, measure_difference
from capsbench.running.merging.source import CellSource, Piece, complete_measures


@dataclass(frozen=True)
class CellPlan:
    """The work on one cell.

    Attributes:
        path: Folder of the cell, relative to the runs folder.
        pieces: Files to be copied, in this order; that which makes the cell complete is the last.
        superseded: Files of the target that are removed afterwards, because the cell is finished.
        notes: Decisions, as a few words each.
        conflicts: A sentence on each conflict.
    """

    path: str
    pieces: tuple[Piece, ...] = ()
    superseded: tuple[Path, ...] = ()
    notes: tuple[str, ...] = ()
    conflicts: tuple[str, ...] = ()

    @property
    def bytes(self) -> int:
        """Bytes to be copied."""
        return sum(piece.source.stat().st_size for piece in self.pieces)


def plan_cell(sources: Sequence[CellSource], into: Path) -> CellPlan:
    """Return the work on one cell.

    Args:
        sources: The cell in each runs folder that has it, the target first if it is among them.
        into: The target.
    """
    path = sources[0].path
    begun = [source for source in sources if source.has_begun]
    finished = [source for source in begun if source.is_finished]
    if finished:
        plan = _plan_finished(finished, into)
        if len(begun) > len(finished) and plan.pieces:
            return replace(plan, notes=(*plan.notes, "unfinished in another folder"))
        return plan
    if not begun or begun[0].runs == into:
        return CellPlan(path)
    if len(begun) == 1:
        return CellPlan(path, tuple(_unfinished_pieces(begun[0], with_state=True)))
    failed = [source for source in begun if source.has_failed]
    pieces = tuple(_unfinished_pieces(failed[0], with_state=False)) if failed else ()
    return CellPlan(path, pieces, notes=("unfinished in several folders: states are left there",))


def _plan_finished(finished: Sequence[CellSource], into: Path) -> CellPlan:
    """Return the work on a cell that one folder or several have finished."""
    first = finished[0]
    # One whose weights were deleted gives way to one that has them, but never in the target.
    base = first if first.runs == into else max(finished, key=lambda each: len(each.checkpoints))
    others = [source for source in finished if source is not base]
    conflicts = [
        f"{base.folder.path} and {other.folder.path} have {difference}: remove one of them"
        for other in others
        if (difference := cell_difference(base, other))
    ]
    measures, conflicting = _united_measures([base, *others])
    conflicts += conflicting
    added = [name for name, source in measures.items() if source.runs != into]
    pieces = [piece for name in added for piece in _measure_pieces(measures[name], name)]
    target = CellFolder(into / base.path)
    superseded = []
    failed = all(source.has_failed for source in finished)
    if not failed:
        superseded.append(target.failure)
    if base.runs != into:
        conflicts += _measures_of_unfinished(target, measures)
        failure = _failure_pieces(base) if failed else []
        last = target.training if base.training else target.weights
        record = base.piece(base.folder.path / last.name)
        training = [each for each in _training_pieces(base) if not _is_own_log(each, target)]
        pieces = [*training, *pieces, *failure, record]
        superseded += [target.state, target.replaced]
    dates = {source.date for source in finished}
    return CellPlan(
        base.path,
        () if conflicts else tuple(pieces),
        tuple(path for path in superseded if is_present(path)),
        (f"finished in several folders, with equal results: {base.runs} is kept",)
        if len(dates) > 1
        else (),
        tuple(conflicts),
    )


def _is_own_log(piece: Piece, target: CellFolder) -> bool:
    """Check that a piece is a log where the target has another one."""
    return piece.source.name == target.log.name and is_present(target.log)


def _united_measures(finished: Sequence[CellSource]) -> tuple[dict[str, CellSource], list[str]]:
    """Return the folder that each measure is taken from, and a sentence on each conflict."""
    chosen: dict[str, CellSource] = {}
    conflicts = []
    for source in finished:
        for name, record in source.measures.items():
            first = chosen.setdefault(name, source)
            known = first.measures[name]
            if known is not record and (difference := measure_difference(known, record)):
                paths = [each.folder.measure(name) for each in (first, source)]
                conflicts.append(f"{paths[0]} and {paths[1]} have {difference}: remove one of them")
    return chosen, conflicts


def _measures_of_unfinished(target: CellFolder, united: Mapping[str, CellSource]) -> Iterator[str]:
    """Yield a sentence on each measure of unknown weights in an unfinished cell of the target.

    A copy that was interrupted leaves measures that are equal to the united ones.
    """
    for name, record in complete_measures(target).items():
        source = united.get(name)
        if source is None or measure_difference(source.measures[name], record):
            yield (
                f"{target.measure(name)} is a measure of a training that is not finished there, "
                f"but in another folder: remove {target.path}"
            )


def _training_pieces(source: CellSource) -> Iterator[Piece]:
    """Yield the files of a finished cell but its measures and the record that completes it."""
    folder, training = source.folder, source.training
    if training is None:
        return
    for rule in source.checkpoints:
        for name in (WEIGHTS, CONFIG, "README.md"):
            path = folder.checkpoint(rule) / name
            if is_present(path):
                yield source.piece(path, training.files.get(f"checkpoints/{rule}/{name}"))
    if is_present(folder.trajectory):
        yield source.piece(folder.trajectory, training.files.get(folder.trajectory.name))
    yield from _plain_files(source, folder.profile)
    yield from (source.piece(path) for path in (folder.log, folder.config) if path.is_file())


def _measure_pieces(source: CellSource, name: str) -> list[Piece]:
    arrays, record = source.folder.per_image(name), source.folder.measure(name)
    pieces = [source.piece(arrays, source.measures[name].arrays_sha256)]
    return [*(pieces if is_present(arrays) else []), source.piece(record)]


def _failure_pieces(source: CellSource) -> list[Piece]:
    load_failure(source.folder)
    return [source.piece(source.folder.failure)]


def _unfinished_pieces(source: CellSource, *, with_state: bool) -> Iterator[Piece]:
    """Yield the files of an unfinished cell, the state at last."""
    folder = source.folder
    paths = [folder.log, folder.config]
    paths += [folder.trajectory] if with_state else []
    yield from (source.piece(path) for path in paths if path.is_file())
    if source.has_failed:
        yield from _failure_pieces(source)
    if with_state and is_present(folder.state):
        yield source.piece(folder.state)


def _plain_files(source: CellSource, folder: Path) -> Iterator[Piece]:
    for path in sorted(folder.glob("[!.]*")):
        if path.is_file() and not path.is_symlink():
            yield source.piece(path)
