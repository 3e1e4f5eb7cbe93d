"""The next step after a run, in one short line."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path

from capsbench.names import is_own_file
from capsbench.records import CellResult, ClaimsRecord, Results
from capsbench.reporting.formatting import counted

ENOUGH_SEEDS = 3  # an interval over seeds needs them
MORE_SEEDS = 5
MEASURE = "calibration"  # of any classifier on any single-label set
RUNS = Path("runs")


def next_step(results: Results, runs: Path, data_root: Path | None) -> str:
    """Return what is missing, or else the next useful command; empty if there is none.

    Args:
        results: Records of the benchmark.
        runs: The runs folder.
        data_root: Folder of local data files; None for the default.
    """
    cells = [cell for cell in results.cells if not cell.trained_elsewhere]
    if diverged := [cell for cell in cells if cell.training and cell.training.status == "diverged"]:
        return (
            f"{_listed(diverged, cells)} diverged; try a smaller learning rate: "
            "--set recipe.learning_rate=..."
        )
    if any(cell.failure for cell in cells):
        return ""  # the tables end with the command that tries them again
    if unfinished := [cell for cell in cells if cell.problem]:
        return f"{_listed(unfinished, cells)} not finished; the same command continues"
    seeds = list(results.benchmark.seeds)
    words = shlex.split(results.record.command)
    if len(seeds) < ENOUGH_SEEDS and words[:2] == ["capsbench", "run"]:
        command = shlex.join([*_without(words, "--seeds"), "--seeds", _more(seeds)])
        return f"next: {command}   # intervals need three seeds or more"
    if cells and not results.has_measure(MEASURE):
        folder = str(runs / cells[0].reference.path)
        options = ["--measures", f"{{measure: {MEASURE}}}", *_own_files(cells[0], results)]
        options += [] if data_root is None else ["--data-root", str(data_root)]
        command = shlex.join(["capsbench", "measure", folder, *options])
        return f"next: {command}   # or others of 'capsbench list measures'"
    if any(_own_files(cell, results) for cell in cells):
        return ""  # others do not have the file, so that the export is refused
    return _export(results.benchmark.name, runs)


def next_claims_step(record: ClaimsRecord, runs: Path) -> str:
    """Return the next useful command after a run of claims.

    Args:
        record: Record of the claims.
        runs: The runs folder.
    """
    if record.scale is None:
        return _export(record.claims.name, runs)
    command = shlex.join([*_without(shlex.split(record.command), "--scale"), "--dry-run"])
    return f"next: {command}   # time, memory and disk at full size"


def _export(name: str, runs: Path) -> str:
    place = [] if runs == RUNS else ["--output", str(runs)]
    command = shlex.join(["capsbench", "report", name, *place, "--export", "mine"])
    return f"next: {command}   # all numbers in one file"


def _listed(part: Sequence[CellResult], cells: Sequence[CellResult]) -> str:
    """Return how many cells are affected, with the first one by name."""
    first = f"{part[0].title}, seed {part[0].seed}"
    names = first if len(part) == 1 else f"{first}, ..."
    return f"{len(part)} of {counted(len(cells), 'training')} ({names})"


def _own_files(cell: CellResult, results: Results) -> list[str]:
    """Return the options of `capsbench measure` that name the user's own model and data module."""
    config, benchmark = cell.config, results.benchmark
    assert config is not None  # the cell is finished
    model = next(entry.name for entry in benchmark.models if entry.label == cell.label)
    return [
        *(["--model", model] if is_own_file(config.model.name) else []),
        *(["--data", benchmark.data.name] if is_own_file(config.data.name) else []),
    ]


def _more(seeds: Sequence[int]) -> str:
    """Return five seeds that hold the given ones, as ``--seeds`` takes them.

    >>> _more([0, 1]), _more([7])
    ('0-4', '7-11')
    """
    free = (seed for seed in range(min(seeds), max(seeds) + MORE_SEEDS) if seed not in seeds)
    more = sorted([*seeds, *(next(free) for _ in range(MORE_SEEDS - len(seeds)))])
    first, last = more[0], more[-1]
    return f"{first}-{last}" if last - first < MORE_SEEDS else ",".join(map(str, more))


def _without(words: Sequence[str], option: str) -> list[str]:
    """Return the words of a command without an option and its value."""
    kept = [word for word in words if not word.startswith(f"{option}=")]
    if option in kept:
        place = kept.index(option)
        del kept[place : place + 2]
    return kept
