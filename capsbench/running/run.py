"""Run a benchmark: train what is not trained, measure what is not measured, build the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import torch
from rich.console import Console

from capsbench.capsules.backends import require_backend
from capsbench.data.images import require_shares
from capsbench.errors import UserError
from capsbench.records import SCHEMA, CellFolder, write_json
from capsbench.reporting import report, terminal
from capsbench.reporting.results import SearchRecord, load_cell, read_training
from capsbench.reporting.results import load as load_results
from capsbench.reporting.wandb import usable_mode
from capsbench.running.examples import require_asked, write_examples
from capsbench.running.measuring import measure_cell, missing_measures
from capsbench.running.mirror import cell_mirror, mirror_benchmark, mirror_cell
from capsbench.running.plan import Cell
from capsbench.running.provenance import provenance
from capsbench.running.worker import process_rank, train_cell, train_cell_in_processes
from capsbench.schema import Benchmark
from capsbench.training.devices import precision_note, resolve_device
from capsbench.training.execution import Execution
from capsbench.training.profile import TABLE, TRACE

State = Literal["done", "to measure", "resumable", "to do"]


def cell_state(output: Path, cell: Cell) -> State:
    """How far a cell has come, from its records alone."""
    folder = CellFolder(output / cell.path)
    if folder.training.is_file():
        diverged = read_training(folder).status == "diverged"
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
    search: SearchRecord | None = None,
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
        search: The search that chose the recipes, if there was one.

    Returns:
        The page; None in a process of a cluster that is not the first.

    Raises:
        UserError: A device, a routing backend or a data file is missing, another process is at work
            on a cell, or the processes cannot share a batch equally.
    """
    require_shares(benchmark.recipe.batch, execution.processes)
    _require_sources(cells, output)
    mode = execution.wandb if execution.wandb == "off" else usable_mode(execution.wandb)
    device = resolve_device(execution.device)
    require_backend(execution.routing, torch.device(device))
    execution = execution.model_copy(update={"device": device, "wandb": mode})
    first = execution.processes == 1 or process_rank() == 0
    folder = output / benchmark.name
    if first:
        if note := precision_note(benchmark.recipe, device):
            console.print(note, markup=False, highlight=False, soft_wrap=True)
        data = cells[0].build_data(data_root)  # all cells have the same test images
        require_asked(benchmark.measures, data)
        content = {
            "schema": SCHEMA,
            "benchmark": benchmark.model_dump(mode="json"),
            "changes": changes,
            "command": command,
            "cells": [asdict(cell.entry) for cell in cells],
            "examples": write_examples(benchmark, data, folder),
            "search": None if search is None else _as_json(search),
            **provenance(),
        }
        write_json(folder / "benchmark.json", content)
    # Processes of a group must meet at each training, so none may be held up by a measure; and a
    # measure that looks at other trainings needs them all.
    together = execution.processes > 1
    first_all = together or any(cell.sources for cell in cells)
    for group in [list(cells)] if first_all else [[cell] for cell in cells]:
        states = {cell.path: cell_state(output, cell) for cell in group}
        todo = [cell for cell in group if states[cell.path] in ("to do", "resumable")]
        for cell in todo if together else ():
            train_cell_in_processes(cell, benchmark.name, output, execution, data_root)
        for cell in todo if first_all and not together else ():
            mirror = cell_mirror(cell, benchmark.name, output / cell.path, execution.wandb)
            train_cell(
                cell,
                output,
                execution,
                data_root=data_root,
                loggers=[] if mirror is None else [mirror],
                console=console,
            )
            if mirror is not None:
                mirror.close()
        for cell in group if first else ():
            begun = states[cell.path] != "done"
            mirror = None
            if begun:
                mirror = cell_mirror(cell, benchmark.name, output / cell.path, execution.wandb)
            if cell in todo and not first_all:
                train_cell(
                    cell,
                    output,
                    execution,
                    data_root=data_root,
                    loggers=[] if mirror is None else [mirror],
                    console=console,
                )
            measure_cell(
                cell,
                output,
                data_root,
                device=device,
                routing=execution.routing,
                console=console,
            )
            if mirror is not None:
                mirror_cell(mirror, benchmark, output, cell)
            found = "" if begun else " (found)"
            line = f"{cell.title}, seed {cell.seed}: {_line(cell, output)}{found}"
            console.print(line, markup=False, highlight=False, soft_wrap=True)
            if execution.profile:
                line = _profile_line(CellFolder(output / cell.path), trained=cell in todo)
                console.print(line, markup=False, highlight=False, soft_wrap=True)
    if not first:
        return None
    write_json(folder / "benchmark.json", content)  # another run may have put its own there
    page = report.build(folder)
    results = load_results(folder)
    mirror_benchmark(folder, results, execution.wandb)
    console.print(terminal.result_tables(results))
    console.print(f"page: {page}", markup=False, highlight=False, soft_wrap=True)
    return page


def _as_json(search: SearchRecord) -> dict[str, Any]:
    return {"seed": search.seed, "trials": [trial._asdict() for trial in search.trials]}


def _require_sources(cells: Sequence[Cell], output: Path) -> None:
    """Refuse to measure what looks at a training that neither is there nor will be."""
    wanted = {cell.path for cell in cells}
    for cell in cells:
        for source in cell.sources.values():
            if (
                source.path not in wanted
                and not CellFolder(output / source.path).training.is_file()
            ):
                raise UserError(
                    f"measures of {cell.title} look at {source.title}, seed {source.seed}, which "
                    "is not trained yet: name it too, or run all models"
                )


def _line(cell: Cell, output: Path) -> str:
    """What came of a cell, in a line."""
    found = load_cell(output, cell.entry)
    if found.problem is not None or found.training is None:
        return str(found.problem)
    numbers = [f"trained in {found.training.seconds:.1f} s"]
    for measurement in found.measurements.values():
        numbers += [
            f"{kind} {measurement.values[f'{kind}/accuracy']:.3f}"
            for kind in ("familiar", "novel")
            if f"{kind}/accuracy" in measurement.values
        ]
    return ", ".join(numbers)


def _profile_line(folder: CellFolder, *, trained: bool) -> str:
    """Where a cell's profile is, and how to look at it."""
    if not trained:
        return "  nothing to profile: it was trained before; another --output trains it again"
    if not folder.profile.is_dir():
        return "  nothing to profile: the training ended before the steps to be profiled were done"
    trace, table = folder.profile / TRACE, folder.profile / TABLE
    return f"  profile: {table}; open {trace} in chrome://tracing or ui.perfetto.dev"
