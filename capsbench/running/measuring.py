"""Measure a trained cell: what is missing of its measures, from its checkpoint."""

from __future__ import annotations

import importlib
import time
from functools import partial
from pathlib import Path

from rich.console import Console

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.backends import use_backend
from capsbench.measures._objects import with_objects
from capsbench.progress import progress_bar
from capsbench.records import (
    SCHEMA,
    CellFolder,
    clear_unfinished_writes,
    write_json,
    write_npz,
)
from capsbench.reporting.results import read_training
from capsbench.running.checkpoints import load_checkpoint
from capsbench.running.plan import Cell
from capsbench.running.provenance import provenance
from capsbench.training.devices import device_name


def missing_measures(cell: Cell, folder: CellFolder) -> list[str]:
    """The names of the cell's measures that have no record yet."""
    return [name for name in cell.measures if not folder.measure(name).is_file()]


def measure_cell(
    cell: Cell,
    output: Path,
    data_root: Path | None,
    *,
    device: str,
    routing: Backend,
    console: Console,
) -> None:
    """Compute and record the missing measures of a trained cell; nothing is trained.

    A cell that diverged has no weights, and no measures. Its sources must have been trained.

    Args:
        cell: The cell.
        output: The runs folder.
        data_root: Folder of data files at hand.
        device: ``cpu``, ``cuda`` or ``mps``.
        routing: In which form routing is computed.
        console: Where progress is shown.
    """
    folder = CellFolder(output / cell.path)
    missing = missing_measures(cell, folder)
    if not missing or read_training(folder).status == "diverged":
        return
    clear_unfinished_writes(folder.path)
    data = cell.build_data(data_root)
    model = load_checkpoint(folder.checkpoint(cell.rule), cell.model).to(device).eval()
    use_backend(model, routing)
    sources = {
        label: load_checkpoint(CellFolder(output / each.path).checkpoint(each.rule), each.model)
        .to(device)
        .eval()
        for label, each in cell.sources.items()
        if read_training(CellFolder(output / each.path)).status == "trained"
    }
    for source in sources.values():
        use_backend(source, routing)
    for name in missing:
        entry = cell.measures[name]
        started = time.perf_counter()
        with progress_bar(console) as progress:
            bar = progress.add_task(
                f"{cell.title}, seed {cell.seed}: {entry.measure}", total=entry.steps, note=""
            )
            measure = importlib.import_module(entry.module).measure
            more = {"sources": sources} if entry.needs else {}
            result = measure(entry, model, data, device, partial(progress.advance, bar), **more)
        write_npz(folder.samples(name), with_objects(result.samples, data))
        write_json(
            folder.measure(name),
            {
                "schema": SCHEMA,
                "measure": entry.measure,
                "arguments": entry.model_dump(mode="json", exclude={"measure"}),
                "checkpoint": cell.rule,
                "n": result.n,
                "seconds": round(time.perf_counter() - started, 3),
                "values": result.values,
                "views": result.views,
                "notes": list(result.notes),
                "device": device_name(device),
                **provenance(),
            },
        )
