"""Runs folders of many recorded cells, made from the records of a few tiny trainings."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from rich.console import Console

from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    CellResult,
    ProtocolChanges,
    Results,
    load_results,
)
from capsbench.records.record import Record
from capsbench.running.benchmark import carry_out_runs, prepare_run
from capsbench.running.cell import Cell
from capsbench.running.plan import plan
from capsbench.running.session import Session
from capsbench.schema import Benchmark
from capsbench.speed.tiny_cells import tiny_protocol
from capsbench.training.execution import Execution

NAME = "growth"
MODELS = 20
TRAINED_SEEDS = 4  # so that seeds differ, and so do models


@dataclass(frozen=True)
class RecordedRun:
    """A benchmark whose cells are all trained and measured.

    Attributes:
        benchmark: The protocol.
        cells: Its cells.
        session: The session, in the folder of the records.
    """

    benchmark: Benchmark
    cells: Sequence[Cell]
    session: Session

    @property
    def folder(self) -> BenchmarkFolder:
        """Folder of the benchmark."""
        return BenchmarkFolder(self.session.output / self.benchmark.name)


def protocol(seeds: int) -> Benchmark:
    """Return a benchmark of twenty tiny networks with a number of seeds each."""
    networks = [
        {"name": "cnn-small", "label": f"CNN {index}", "arguments": {"hidden": 4 + index}}
        for index in range(MODELS)
    ]
    return tiny_protocol(NAME, seeds, networks=networks, steps=3)


def quiet_session(output: Path) -> Session:
    """Return a session of this process that prints nothing."""
    console = Console(file=io.StringIO())
    return Session(output.resolve(), None, Execution(device="cpu", wandb="off"), console)


def record_cells(runs: Path, seeds: int) -> RecordedRun:
    """Write the records of `protocol`, with files that are equal as hard links.

    Weights are left out, as after `capsbench clean`: nothing but a new measure needs them.

    Args:
        runs: A new folder, on the file system of temporary files.
        seeds: Seeds of each of the twenty networks.

    Returns:
        The benchmark, all of whose cells are done.
    """
    trained = _trained()
    run = RecordedRun(protocol(seeds), plan(protocol(seeds)), quiet_session(runs))
    for index, cell in enumerate(run.cells):
        _record(cell, trained.cells[(index + index // seeds) % TRAINED_SEEDS], run.session)
    examples = BenchmarkFolder(temporary_folder() / "trained" / NAME).examples
    run.folder.path.mkdir()
    os.link(examples, run.folder.examples)
    record = BenchmarkRecord(
        benchmark=run.benchmark,
        command=trained.record.command,
        cells=tuple(cell.reference for cell in run.cells),
        examples=trained.record.examples,
        provenance=trained.record.provenance,
    )
    record.save(run.folder.record)
    return run


def _record(cell: Cell, trained: CellResult, session: Session) -> None:
    """Write the records of a cell, with the numbers of a training of another name."""
    folder = session.folder(cell)
    assert trained.training is not None
    renamed = {"cell": cell.config.folder_name}
    folder.measure("").parent.mkdir(parents=True)
    os.link(trained.folder.trajectory, folder.trajectory)
    _write(folder.config, cell.config)
    _write(folder.training, trained.training.model_copy(update=renamed))
    for name, config in cell.measures.items():
        source = trained.reference.measures[config.measure]
        os.link(trained.folder.per_image(source), folder.per_image(name))
        _write(folder.measure(name), trained.measures[config.measure].model_copy(update=renamed))


def _write(path: Path, record: Record) -> None:
    """Write a record without waiting for the disk: it is removed soon."""
    path.write_text(json.dumps(record.file_content()), encoding="utf-8")


@cache
def temporary_folder() -> Path:
    """Return a folder that lasts as long as the process."""
    _KEPT.append(TemporaryDirectory(prefix="capsbench-growth-"))
    return Path(_KEPT[-1].name)


@cache
def _trained() -> Results:
    """Train the first network under some seeds, in this process, and return its records."""
    benchmark, session = protocol(TRAINED_SEEDS), quiet_session(temporary_folder() / "trained")
    cells = plan(benchmark, models=["CNN 0"])
    run = prepare_run(
        benchmark, cells, session, changes=ProtocolChanges(), command="capsbench bench growth"
    )
    carry_out_runs([replace(run, jobs=run.jobs[:-1])])  # without the page
    return load_results(session.output / NAME)


_KEPT: list[TemporaryDirectory[str]] = []
