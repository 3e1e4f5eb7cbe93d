"""Removal of files from a runs folder and from the user's cache folder.

Only files that a run writes are ever listed: a user's own file stays, and its folder with it. Links
are not followed, and what a live process holds is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, get_args

from capsbench.capsules.kernels.code_cache import cache_folder
from capsbench.errors import UserError
from capsbench.files.atomic import is_present, read_json, remove
from capsbench.files.lease import LEASE, read_lease, try_lease
from capsbench.files.leftovers import abandoned_writes, clear_leftovers
from capsbench.records.folders import BenchmarkFolder, CellFolder, benchmarks_in, cells_in
from capsbench.records.live import live_holders

Kind = Literal["leftovers", "states", "failed", "unlisted", "profiles", "logs", "synced", "caches"]
KINDS: tuple[Kind, ...] = get_args(Kind)
MEANING: dict[Kind, str] = {
    "leftovers": "unfinished files of killed processes, and states of finished trainings",
    "states": "states of unfinished trainings, which then begin anew",
    "failed": "cells whose training failed, with all of their files",
    "unlisted": "cells that no benchmark's record lists; none while a process works in the folder",
    "profiles": "profiles of finished trainings",
    "logs": "logs of finished cells and of pages",
    "synced": "runs of Weights & Biases that `wandb sync` has sent",
    "caches": "compiled code and rendered data sets, which are made again when they are needed",
}
# Files that a run writes in the folder of a cell; the config is the last, so that a cell of which a
# part is removed is still known as one.
CELL_FILES = (
    "training.json",
    "weights.json",
    "replaced.json",
    "failure.json",
    "state.ckpt",
    "trajectory.csv",
    "log.txt",
    "measures/*.json",
    "measures/*.npz",
    "checkpoints/*/model.safetensors",
    "checkpoints/*/config.json",
    "checkpoints/*/README.md",
    "profile/*",
    "tensorboard/*",
    "csv/*",
    "config.json",
)


@dataclass(frozen=True)
class Removable:
    """Files that belong together.

    Attributes:
        kind: The kind.
        place: The file or folder, for people.
        files: Files and folders to be removed.
        bytes: Their size.
        cell: Folder of their cell; None if they belong to none.
    """

    kind: Kind
    place: Path
    files: tuple[Path, ...]
    bytes: int
    cell: Path | None = None


def removable(runs: Path | None) -> Iterator[Removable]:
    """List what can be removed.

    Args:
        runs: The runs folder; None for the caches alone.

    Raises:
        UserError: A record of a benchmark is damaged.
    """
    # In a folder without a benchmark or a cell, such as one named by mistake, nothing is ours.
    if runs is not None and (benchmarks_in(runs) or cells_in(runs)):
        busy = {path for path in cells_in(runs) if live_holders(CellFolder(runs / path))}
        # A search in progress lists its finished trials only at its end.
        listed = None if busy else _listed_cells(runs)
        for folder in _plain_folders(runs):
            yield from _group("leftovers", folder, _leftovers(folder))
        for path in _plain_cells(runs):
            if path not in busy:
                yield from _of_cell(CellFolder(runs / path), runs, listed)
        for name in benchmarks_in(runs):
            log = BenchmarkFolder(runs / name).log
            yield from _group("logs", log, [log])
        for sent in sorted((runs / "wandb").glob("offline-run-*/*.wandb.synced")):
            yield from _group("synced", sent.parent, [sent.parent])
    yield from _caches()


def _of_cell(cell: CellFolder, runs: Path, listed: set[str] | None) -> Iterator[Removable]:
    """Yield what can be removed of a cell that no process holds."""
    finished = is_present(cell.training) or is_present(cell.weights)
    for folder in _folders_of_cell(cell.path):
        yield from _group("leftovers", folder, _leftovers(folder), cell.path)
    yield from _group("leftovers" if finished else "states", cell.state, [cell.state], cell.path)
    if finished:
        profile = sorted(cell.profile.glob("*"))
        yield from _group("profiles", cell.profile, profile, cell.path)
        yield from _group("logs", cell.log, [cell.log], cell.path)
    everything = [path for pattern in CELL_FILES for path in sorted(cell.path.glob(pattern))]
    if not finished and is_present(cell.failure):
        yield from _group("failed", cell.path, everything, cell.path)
    if listed is not None and cell.path.relative_to(runs).as_posix() not in listed:
        yield from _group("unlisted", cell.path, everything, cell.path)


def _leftovers(folder: Path) -> list[Path]:
    """Return unfinished files of killed processes, and the empty lock of earlier versions."""
    lock = folder / ".lock"
    return [*abandoned_writes(folder), *([lock] if lock.is_file() and not _size(lock) else [])]


def _group(
    kind: Kind, place: Path, paths: Sequence[Path], cell: Path | None = None
) -> Iterator[Removable]:
    """Yield the files that exist and are no links, if there is one."""
    files = tuple(
        path for path in paths if is_present(path) and not _is_linked(path, cell or path.parent)
    )
    if files:
        yield Removable(kind, place, files, sum(map(_size, files)), cell)


def _is_linked(path: Path, folder: Path) -> bool:
    """Check that a path, or a folder above it inside of another folder, is a symbolic link."""
    inside = [each for each in path.parents if folder in each.parents]
    return any(each.is_symlink() for each in (path, *inside))


def _size(path: Path) -> int:
    """Return the bytes of a file, or of the files in a folder; links are not followed."""
    if path.is_symlink() or not path.is_dir():
        return path.lstat().st_size
    return sum(
        Path(place, name).lstat().st_size for place, _, names in os.walk(path) for name in names
    )


def _plain_cells(runs: Path) -> list[str]:
    """Return the folders of cells to which no symbolic link leads, relative to the runs folder."""
    return [path for path in cells_in(runs) if not _is_linked(runs / path, runs)]


def _plain_folders(runs: Path) -> Iterator[Path]:
    """Yield the folders of a runs folder in which files of a benchmark, or cells, are written."""
    yield runs
    for pattern in ("*", "*/*", "*/report/figures"):
        yield from (
            path
            for path in sorted(runs.glob(pattern))
            if path.is_dir() and not _is_linked(path, runs)
        )


def _folders_of_cell(cell: Path) -> list[Path]:
    return [cell, cell / "measures", cell / "checkpoints"]


def _listed_cells(runs: Path) -> set[str]:
    """Return the folders of the cells and trials of all benchmarks' records.

    Raises:
        UserError: A record is damaged.
    """
    paths = set()
    for name in benchmarks_in(runs):
        path = BenchmarkFolder(runs / name).record
        if not is_present(path):  # of claims
            continue
        content = read_json(path)
        try:
            trials = (content.get("search") or {"trials": []})["trials"]
            trainings = [run for trial in trials for run in trial["runs"]]
            paths |= {cell["path"] for cell in (*content["cells"], *trainings)}
        except (AttributeError, KeyError, TypeError):
            raise UserError(f"{path} is no record of a benchmark; remove it") from None
    return paths


def _caches() -> Iterator[Removable]:
    for path in sorted(cache_folder().glob("*")):
        if not path.is_dir() or read_lease(path / LEASE) is None:
            yield from _group("caches", path, [path])


def clean(entry: Removable, runs: Path | None) -> bool:
    """Remove files, and folders of a cell that are empty then.

    Args:
        entry: The files.
        runs: The runs folder, which stays; None for caches.

    Returns:
        False if a live process has taken the cell meanwhile; nothing is removed then.
    """
    cell = entry.cell if entry.cell is not None and entry.cell.is_dir() else None
    lease = None if cell is None else try_lease(CellFolder(cell).lease, "cleaning")
    if cell is not None and lease is None:
        return False
    with lease or nullcontext():
        for path in entry.files:
            remove(path)
    if cell is not None and runs is not None:
        for folder in _folders_of_cell(cell):
            clear_leftovers(folder)
        _remove_empty(cell, runs)
    return True


def _remove_empty(cell: Path, runs: Path) -> None:
    """Remove empty folders: those inside of a cell, the cell, and those above it."""
    inside = [Path(place) for place, _, _ in os.walk(cell, topdown=False)]
    above = [each for each in cell.parents if runs in each.parents]  # the nearest first
    for folder in dict.fromkeys((*inside, *above)):
        if not any(folder.iterdir()):
            folder.rmdir()
