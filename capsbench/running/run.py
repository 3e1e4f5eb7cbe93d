"""Run a benchmark: train what is not trained, measure what is not measured, build the page."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Literal

from filelock import FileLock, Timeout
from pytorch_lightning.loggers import Logger
from rich.console import Console

from capsbench.data.images import require_shares
from capsbench.errors import UserError
from capsbench.records import SCHEMA, CellFolder, read_json, write_json
from capsbench.reporting import report, terminal
from capsbench.reporting.results import load as load_results
from capsbench.reporting.wandb import Mirror, usable_mode
from capsbench.running.examples import write_examples
from capsbench.running.measuring import measure_cell, missing_measures
from capsbench.running.mirror import cell_mirror, mirror_benchmark, mirror_results
from capsbench.running.plan import Cell
from capsbench.running.provenance import provenance
from capsbench.running.worker import train_cell, train_cell_in_processes
from capsbench.schema import Benchmark
from capsbench.training.devices import resolve_device
from capsbench.training.execution import Execution

State = Literal["done", "to measure", "resumable", "to do"]


@dataclass
class Work:
    """A cell on its way through a run."""

    cell: Cell
    state: State
    benchmark: str
    output: Path
    execution: Execution

    @property
    def folder(self) -> CellFolder:
        """Where its record is."""
        return CellFolder(self.output / self.cell.path)

    @cached_property
    def mirror(self) -> Mirror:
        """Its run on Weights & Biases; nothing is started before something is logged."""
        return cell_mirror(self.cell, self.benchmark, self.folder.path, self.execution)


def cell_state(output: Path, cell: Cell) -> State:
    """How far a cell has come, from its records alone."""
    folder = CellFolder(output / cell.path)
    if folder.training.is_file():
        diverged = read_json(folder.training)["status"] == "diverged"
        return "done" if diverged or not missing_measures(cell, folder) else "to measure"
    return "resumable" if folder.state.is_file() else "to do"


def run_benchmark(
    benchmark: Benchmark,
    *,
    cells: Sequence[Cell],
    output: Path,
    execution: Execution,
    data_root: Path | None,
    changes: list[str],
    command: str,
    console: Console,
) -> Path | None:
    """Carry out the cells of a benchmark that are not done, and build its page.

    Args:
        benchmark: The protocol.
        cells: The cells of the protocol that are wanted.
        output: The runs folder.
        execution: How to carry them out.
        data_root: Folder of data files at hand.
        changes: What the command line changed of the shipped protocol, in words.
        command: The command, for the record.
        console: Where progress and results are shown.

    Returns:
        The page; None in a process of a cluster that is not the first.

    Raises:
        UserError: A device or a data file is missing, another process is at work on a cell, or the
            processes cannot share a batch equally.
    """
    require_shares(benchmark.recipe.batch, execution.processes)
    mode = execution.wandb if execution.wandb == "off" else usable_mode(execution.wandb)
    device = resolve_device(execution.device)
    execution = execution.model_copy(update={"device": device, "wandb": mode})
    first = execution.processes == 1 or _rank() == 0
    folder = output / benchmark.name
    if first:
        examples = write_examples(benchmark, cells[0], folder, data_root)
        content = {
            "schema": SCHEMA,
            "benchmark": benchmark.model_dump(mode="json"),
            "changes": changes,
            "command": command,
            "cells": [_entry(cell) for cell in cells],
            "examples": examples,
            **provenance(),
        }
        write_json(folder / "benchmark.json", content)
    # Processes of a group must meet at each training, so none may be held up by a measure.
    groups = [list(cells)] if execution.processes > 1 else [[cell] for cell in cells]
    for group in groups:
        work = [
            Work(cell, cell_state(output, cell), benchmark.name, output, execution)
            for cell in group
        ]
        for item in work:
            if item.state in ("to do", "resumable"):
                _train(item, data_root, console, first=first)
        for item in work if first else ():
            _measure(item, data_root, console)
            found = " (found)" if item.state == "done" else ""
            console.print(_line(item) + found, markup=False, highlight=False, soft_wrap=True)
    if not first:
        return None
    page = report.build(folder)
    results = load_results(folder)
    mirror_benchmark(benchmark.name, folder, results, execution)
    console.print(terminal.summary_table(results))
    console.print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)
    return page


def _rank() -> int:
    """This process's number where a launcher (torchrun, srun, a call per node) started several."""
    names = ("RANK", "SLURM_PROCID", "NODE_RANK")
    return int(next((os.environ[name] for name in names if name in os.environ), "0"))


def _train(work: Work, data_root: Path | None, console: Console, *, first: bool) -> None:
    folder, execution = work.folder, work.execution
    if not first:
        train_cell_in_processes(work.cell, work.benchmark, work.output, execution, data_root)
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder.path / ".lock", timeout=0):
            folder.clear_unfinished_writes()
            write_json(folder.config, {"schema": SCHEMA, **work.cell.record})
            if execution.processes > 1:
                train_cell_in_processes(
                    work.cell, work.benchmark, work.output, execution, data_root
                )
            else:
                loggers: list[Logger] = []
                if execution.wandb != "off":
                    work.mirror.start()
                    loggers = [work.mirror]
                train_cell(
                    work.cell,
                    work.output,
                    execution,
                    data_root=data_root,
                    loggers=loggers,
                    console=console,
                )
    except Timeout:
        raise UserError(
            f"another process is training {work.cell.label}, seed {work.cell.seed} "
            f"in {folder.path}; wait for it, or choose another --output"
        ) from None


def _measure(work: Work, data_root: Path | None, console: Console) -> None:
    record = read_json(work.folder.training)
    missing = missing_measures(work.cell, work.folder)
    if record["status"] == "trained" and missing:
        data = work.cell.build_data(data_root)
        device = work.execution.device
        measure_cell(work.cell, work.output, data, device=device, console=console)
    if work.state != "done" and work.execution.wandb != "off":
        mirror_results(work.mirror, work.cell, work.output / work.benchmark)


def _line(work: Work) -> str:
    cell, record = work.cell, read_json(work.folder.training)
    head = f"{cell.label}, seed {cell.seed}: "
    if record["status"] == "diverged":
        return f"{head}diverged at step {record['diverged_at']}"
    numbers = [f"trained in {record['seconds']:.1f} s"]
    for name in cell.measures:
        values = read_json(work.folder.measure(name))["values"]
        numbers += [
            f"{kind} {values[f'{kind}/accuracy']:.3f}"
            for kind in ("familiar", "novel")
            if f"{kind}/accuracy" in values
        ]
    return head + ", ".join(numbers)


def _entry(cell: Cell) -> dict[str, object]:
    return {
        "label": cell.label,
        "model": cell.model,
        "seed": cell.seed,
        "path": cell.path.as_posix(),
        "measures": {entry.measure: name for name, entry in cell.measures.items()},
    }
