"""State of every cell of a runs folder, read from a few small files.

For 10,000 cells this takes well under a second. It reads the record of each benchmark and of
claims, the names of the files in each cell's folder, and the contents of few: leases that are held,
`FailureRecord`, and ``training.json`` where measures are missing, because a training that diverged
has none. It imports no torch and writes nothing, so that it can be used while others run.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import Literal, get_args

from capsbench.errors import UserError
from capsbench.files.atomic import read_json
from capsbench.files.lease import LEASE, read_lease
from capsbench.records.benchmark import CellReference
from capsbench.records.cell_files import load_failure
from capsbench.records.failure import FailureRecord
from capsbench.records.folders import BenchmarkFolder, CellFolder, benchmarks_in
from capsbench.records.running_job import RunningJob

State = Literal["running", "failed", "waiting", "diverged", "done"]
STATES: tuple[State, ...] = get_args(State)  # of a shared cell the first one that applies
FILES = CellFolder(Path())  # for the names alone: 10,000 paths take longer than reading the disk
TRAINING, WEIGHTS, STATE = FILES.training.name, FILES.weights.name, FILES.state.name
FAILURE, TRAINING_LEASE, MEASURES = FILES.failure.name, FILES.lease.name, FILES.measure("").parent
CELL_NAME = re.compile(r"(\d+|elsewhere)-[0-9a-f]{12}")


@dataclass(frozen=True)
class CellStatus:
    """State of one cell.

    Attributes:
        title: Label of the model, with the value of what the benchmark varies.
        seed: Seed of the training; None for a model that was trained elsewhere.
        folder: Folder of the cell, relative to the runs folder.
        state: State of the cell.
        jobs: Jobs that are running on it.
        failure: Record of the job that failed; None in any other state.
        problem: Sentence on a file of it that cannot be read, which is a failure as well.
        diverged_at: Step of the non-finite loss, if it diverged.
        trained: True if the training is done.
        resumable: True if an unfinished training left a state from which it continues.
    """

    title: str
    seed: int | None
    folder: str
    state: State
    jobs: tuple[RunningJob, ...] = ()
    failure: FailureRecord | None = None
    problem: str | None = None
    diverged_at: int | None = None
    trained: bool = False
    resumable: bool = False


@dataclass(frozen=True)
class BenchmarkStatus:
    """State of the cells of one benchmark.

    Attributes:
        name: Name of the benchmark; empty for cells that no benchmark's record lists, such as the
            trials of a search in progress.
        cells: The cells.
        claims: Name of the claims that it is a part of; None for a benchmark on its own.
        command: The command that was run last.
        page: The page; None if it was not built yet.
        problem: Sentence on a record that cannot be read; None if there is none.
    """

    name: str
    cells: tuple[CellStatus, ...] = ()
    claims: str | None = None
    command: str = ""
    page: Path | None = None
    problem: str | None = None

    @property
    def counts(self) -> dict[State, int]:
        """Number of cells in each state."""
        return _counts(cell.state for cell in self.cells)


@dataclass(frozen=True)
class RunsStatus:
    """State of a runs folder.

    Attributes:
        runs: The folder.
        benchmarks: Benchmarks by name; then running and failed cells that no benchmark lists.
        pages_of_claims: Page of each run of claims by its name; None if it was not built yet.
    """

    runs: Path
    benchmarks: tuple[BenchmarkStatus, ...]
    pages_of_claims: Mapping[str, Path | None]

    @cached_property
    def counts(self) -> dict[State, int]:
        """Number of cells in each state; a cell of several benchmarks counts once."""
        states: dict[str, State] = {}
        for benchmark in self.benchmarks:
            for cell in benchmark.cells:
                other = states.get(cell.folder, cell.state)
                states[cell.folder] = min(cell.state, other, key=STATES.index)
        return _counts(states.values())

    @property
    def is_finished(self) -> bool:
        """True if there are cells, and none is running or waiting."""
        counts = self.counts
        return any(counts.values()) and not counts["running"] and not counts["waiting"]

    def parts(self, claims: str) -> list[BenchmarkStatus]:
        """Return the benchmarks of a run of claims that have a record so far."""
        return [each for each in self.benchmarks if each.claims == claims]


def read_status(runs: Path) -> RunsStatus:
    """Read the state of every cell of a runs folder.

    Args:
        runs: The folder.

    Raises:
        UserError: There is no such folder.
    """
    if not runs.is_dir():
        raise UserError(f"{runs} is not a folder; expected a runs folder, such as runs")
    benchmarks = [_read_benchmark(runs, name) for name in benchmarks_in(runs)]
    known = {cell.folder for each in benchmarks if each for cell in each.cells}
    others = tuple(_others(runs, known))
    claims = {name: None for each in benchmarks if each and (name := each.claims)}
    pages = {path.parent.name: _page(path.parent) for path in sorted(runs.glob("*/claims.json"))}
    return RunsStatus(
        runs,
        (*filter(None, benchmarks), *([BenchmarkStatus("", others)] if others else [])),
        claims | pages,
    )


def _read_benchmark(runs: Path, name: str) -> BenchmarkStatus | None:
    """Return the state of a benchmark; None for a folder of claims alone."""
    folder = BenchmarkFolder(runs / name)
    try:
        if not folder.record.is_file():
            return None
        record = read_json(folder.record)
        references = [CellReference.model_validate(cell) for cell in record["cells"]]
        claims, command = record.get("changes", {}).get("claims"), str(record["command"])
    except UserError as error:
        return BenchmarkStatus(name, problem=str(error))
    except (ValueError, TypeError, KeyError, AttributeError):
        return BenchmarkStatus(name, problem=f"{folder.record} is no record of a benchmark")
    cells = tuple(_cell_status(runs, each) for each in references)
    return BenchmarkStatus(name, cells, claims, command, _page(folder.path))


def _page(folder: Path) -> Path | None:
    page = BenchmarkFolder(folder).report / "index.html"
    return page if page.is_file() else None


def _cell_status(runs: Path, reference: CellReference) -> CellStatus:
    place = os.path.join(runs, reference.path)  # noqa: PTH118 - see FILES
    names = _names(place)
    measured = _names(f"{place}/{MEASURES}") if MEASURES.name in names else set[str]()
    trained = TRAINING in names or WEIGHTS in names
    missing = not measured.issuperset(map(_measure_file, reference.measures.values()))
    cell = CellStatus(
        reference.title,
        reference.seed,
        reference.path,
        "done" if trained and not missing else "waiting",
        trained=trained,
        resumable=STATE in names,
    )
    leases = [TRAINING_LEASE] if TRAINING_LEASE in names else []
    leases += [f"{MEASURES}/{name}" for name in measured if name.endswith(LEASE)]
    try:
        if jobs := _jobs(Path(place, each) for each in leases):
            return replace(cell, state="running", jobs=jobs)
        # A training that diverged has no measures.
        if TRAINING in names and (missing or not reference.measures):
            content = read_json(Path(place, TRAINING))
            if isinstance(content, dict) and content.get("status") == "diverged":
                return replace(cell, state="diverged", diverged_at=content.get("diverged_at"))
        if cell.state == "waiting" and FAILURE in names:
            return replace(cell, state="failed", failure=load_failure(CellFolder(Path(place))))
    except UserError as error:
        return replace(cell, state="failed", problem=str(error))
    return cell


def _jobs(leases: Iterable[Path]) -> tuple[RunningJob, ...]:
    """Return the jobs whose processes hold leases."""
    holders = map(read_lease, leases)
    return tuple(RunningJob.of(holder) for holder in holders if holder is not None)


@cache
def _measure_file(name: str) -> str:
    return FILES.measure(name).name


def _others(runs: Path, known: set[str]) -> Iterator[CellStatus]:
    """Yield the running and failed cells that no benchmark lists, such as trials of a search."""
    for model in sorted(runs.glob("*/*/")):
        for name in sorted(filter(CELL_NAME.fullmatch, _names(model))):
            path, seed = f"{model.parent.name}/{model.name}/{name}", name.partition("-")[0]
            if path not in known:
                reference = CellReference(
                    label=model.name,
                    model=model.name,
                    seed=int(seed) if seed.isdigit() else None,
                    path=path,
                    measures={},
                )
                cell = _cell_status(runs, reference)
                if cell.state in ("running", "failed"):
                    yield cell


def _names(folder: Path | str) -> set[str]:
    """Return the names in a folder; none if it is absent."""
    try:
        return set(os.listdir(folder))  # noqa: PTH208 - no Path for each of many names
    except (FileNotFoundError, NotADirectoryError):
        return set()


def _counts(states: Iterable[State]) -> dict[State, int]:
    listed = list(states)
    return {state: listed.count(state) for state in STATES}
