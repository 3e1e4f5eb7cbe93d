"""A runs folder as runs leave it, made up of the few files that `capsbench status` reads."""

import json
import socket
import time
from functools import cache
from pathlib import Path
from typing import Any

from capsbench.environment.failure_kinds import killed
from capsbench.files.holder import Holder, create
from capsbench.files.processes import this_process
from capsbench.records import CellFolder, FailureRecord

PRINT = "0123456789ab"  # fingerprint of everything
MEASURES = {"accuracy-by-view": f"accuracy-by-view-{PRINT}", "cost": f"cost-{PRINT}"}
PROGRESS: dict[str, Any] = {
    "step": 150,
    "steps": 300,
    "steps_per_second": 12.5,
    "device": "cuda:1",
    "note": "validation accuracy 0.912",
}


def reference(seed: int, **fields: Any) -> dict[str, Any]:
    """Return a cell as the record of a benchmark lists it."""
    path = f"digits/cnn-small/{seed}-{PRINT}"
    own = {"label": "CNN", "model": "cnn-small", "seed": seed, "path": path, "measures": MEASURES}
    return own | fields


def write_benchmark(
    runs: Path, cells: list[dict[str, Any]], *, name: str = "quick", **fields: Any
) -> None:
    """Write the record of a benchmark."""
    folder = runs / name
    folder.mkdir(parents=True)
    content = {"schema": 2, "command": f"capsbench run {name}", "cells": cells, **fields}
    (folder / "benchmark.json").write_text(json.dumps(content), "utf-8")


def write_cell(
    runs: Path, seed: int, *, trained: bool = False, measures: tuple[str, ...] = ()
) -> CellFolder:
    """Write a cell with the records of a training and of measures."""
    folder = CellFolder(runs / reference(seed)["path"])
    folder.path.mkdir(parents=True)
    if trained:
        folder.training.write_text('{"schema": 2, "status": "trained"}', "utf-8")
    for name in measures:
        folder.measure(name).parent.mkdir(exist_ok=True)
        folder.measure(name).write_text("{}", "utf-8")
    return folder


def write_done(runs: Path, seed: int) -> CellFolder:
    """Write a cell that has everything."""
    return write_cell(runs, seed, trained=True, measures=tuple(MEASURES.values()))


def write_diverged(runs: Path, seed: int) -> CellFolder:
    """Write a cell whose training diverged."""
    folder = write_cell(runs, seed, trained=True)
    folder.training.write_text('{"schema": 2, "status": "diverged", "diverged_at": 137}', "utf-8")
    return folder


def write_failed(runs: Path, seed: int) -> CellFolder:
    """Write a cell whose training was killed three times."""
    folder = write_cell(runs, seed)
    killed_training().model_copy(update={"cell": folder.path.name}).save(folder.failure)
    return folder


@cache
def killed_training() -> FailureRecord:
    """Return the record of a training whose process was killed three times."""
    return FailureRecord.now(killed(-9), cell="", job="train", log="log.txt", attempts=3)


def hold(path: Path, task: str, *, owner: str | None = None, **progress: Any) -> None:
    """Write a lease, as one of this process if no other owner is named."""
    path.parent.mkdir(parents=True, exist_ok=True)
    now = time.time()
    process = this_process()
    create(
        path,
        Holder(
            token="ab-01",
            host=socket.gethostname(),
            pid=process.pid,
            task=task,
            since=now - 100,
            beat=now,
            progress=progress,
            owner=str(process) if owner is None else owner,
        ),
    )


def write_running(runs: Path, seed: int) -> CellFolder:
    """Write a cell that this process trains."""
    folder = write_cell(runs, seed)
    hold(folder.lease, f"train CNN, seed {seed}", **PROGRESS)
    return folder


def write_every_state(runs: Path) -> None:
    """Write a benchmark with two cells that are done, and one in each other state."""
    write_benchmark(runs, [reference(seed) for seed in range(6)])
    write_done(runs, 0)
    write_done(runs, 1)
    write_running(runs, 2)
    write_failed(runs, 3)
    write_diverged(runs, 4)
