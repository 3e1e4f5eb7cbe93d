"""Carry out one cell's training and write its record, in this process or in several of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout
from pytorch_lightning.loggers import Logger
from rich.console import Console

from capsbench.capsules.backends import taken
from capsbench.capsules.convolution import CHOICES
from capsbench.data.images import ImageData
from capsbench.errors import UserError
from capsbench.process import settings_in_force
from capsbench.progress import progress_bar
from capsbench.records import (
    SCHEMA,
    CellFolder,
    clear_unfinished_writes,
    write_json,
    write_rows,
)
from capsbench.running.checkpoints import save_checkpoint
from capsbench.running.mirror import cell_mirror
from capsbench.running.plan import Cell
from capsbench.running.provenance import provenance
from capsbench.training.devices import device_name
from capsbench.training.execution import Execution
from capsbench.training.selection import Row
from capsbench.training.train import Outcome, train


def train_cell(
    cell: Cell,
    output: Path,
    execution: Execution,
    *,
    data_root: Path | None,
    loggers: list[Logger],
    console: Console,
) -> None:
    """Train a cell in this process and, in the first process of a group, write its record.

    A training that was interrupted goes on from its last state; one that diverges leaves a record
    that says at which step. ``training.json`` is written last.

    Args:
        cell: The cell.
        output: The runs folder.
        execution: How to carry it out; ``device`` must be resolved.
        data_root: Folder of data files at hand.
        loggers: Lightning loggers.
        console: Where progress is shown.
    """
    folder = CellFolder(output / cell.path)
    if process_rank() > 0 and execution.processes > 1:
        _train(cell, folder, execution, data_root, loggers, console)
        return
    folder.path.mkdir(parents=True, exist_ok=True)
    try:
        # Held by the process that trains, so that one whose parent was killed keeps it.
        with FileLock(folder.path / ".lock", timeout=0):
            if not folder.training.is_file():  # else another process has just finished it
                clear_unfinished_writes(folder.path)
                write_json(folder.config, {"schema": SCHEMA, **cell.record})
                outcome, data = _train(cell, folder, execution, data_root, loggers, console)
                _write_record(cell, folder, execution, outcome, data)
    except Timeout:
        raise UserError(
            f"another process is training {cell.title}, seed {cell.seed} in {folder.path}; "
            "wait for it, or choose another --output"
        ) from None


def process_rank() -> int:
    """This process's number where a launcher (Lightning, torchrun, srun) started several."""
    names = ("RANK", "SLURM_PROCID", "NODE_RANK", "LOCAL_RANK")
    return max(int(os.environ.get(name, "0")) for name in names)


def _train(
    cell: Cell,
    folder: CellFolder,
    execution: Execution,
    data_root: Path | None,
    loggers: list[Logger],
    console: Console,
) -> tuple[Outcome, ImageData]:
    data = cell.build_data(data_root)
    with progress_bar(console) as progress:
        bar = progress.add_task(f"{cell.title}, seed {cell.seed}", total=cell.recipe.steps, note="")

        def show_rows(rows: list[Row]) -> None:
            write_rows(folder.trajectory, rows)
            accuracy = rows[-1]["validation_accuracy"]
            progress.update(bar, note=f"validation accuracy {accuracy:.3f}")

        outcome = train(
            cell.build_model,
            data,
            cell.recipe,
            execution,
            seed=cell.seed,
            state=folder.state,
            profile=folder.profile if execution.profile else None,
            loggers=loggers,
            show_step=lambda step: progress.update(bar, completed=step),
            show_rows=show_rows,
            follow=cell.config["follow"],
        )
    return outcome, data


def train_cell_in_processes(
    cell: Cell, benchmark: str, output: Path, execution: Execution, data_root: Path | None
) -> None:
    """Train a cell in a group of processes, which Lightning starts or the cluster has started.

    The group gets a parent process of its own, since Lightning's launcher starts the other
    processes by running their parent's command again: that command must be this one training.

    Args:
        cell: The cell.
        benchmark: Name of the benchmark that runs it.
        output: The runs folder.
        execution: How to carry it out; ``device`` must be resolved.
        data_root: Folder of data files at hand.

    Raises:
        UserError: The training failed; its own message stands above.
    """
    with tempfile.TemporaryDirectory() as folder:
        request = Path(folder, "request.json")
        content = {
            "cell": {**vars(cell), "path": cell.path.as_posix(), "measures": {}, "sources": {}},
            "benchmark": benchmark,
            "output": str(output.resolve()),
            "execution": execution.model_dump(mode="json"),
            "data_root": None if data_root is None else str(data_root.resolve()),
        }
        request.write_text(json.dumps(content), encoding="utf-8")
        command = [sys.executable, "-m", "capsbench.running", str(request)]
        code = subprocess.run(command, check=False).returncode
    if code:
        raise UserError(f"the processes of {cell.title}, seed {cell.seed} ended with code {code}")


def _write_record(
    cell: Cell, folder: CellFolder, execution: Execution, outcome: Outcome, data: ImageData
) -> None:
    selected = {}
    steps_of = {int(row["step"]): row for row in outcome.rows}
    model = cell.build_model()
    source = provenance()
    for rule, (step, weights) in outcome.chosen.items():
        selected[rule] = {"step": step, "accuracy": steps_of[step]["validation_accuracy"]}
        model.load_state_dict(weights)
        facts = {
            "model": Path(cell.model).name,  # of a user's own file, not where it lies
            "label": cell.label,
            "rule": rule,
            "step": step,
            "validation_accuracy": selected[rule]["accuracy"],
            **{name: cell.config[name] for name in ("data", "views", "recipe", "seed")},
            **source,
        }
        save_checkpoint(folder.checkpoint(rule), model, cell.model, facts)
    diverged = outcome.diverged_at is not None
    steps = outcome.diverged_at or cell.recipe.steps
    record: dict[str, Any] = {
        "schema": SCHEMA,
        "status": "diverged" if diverged else "trained",
        "diverged_at": outcome.diverged_at,
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "images": {"train": len(data.split("train")), "validation": len(data.split("validation"))},
        "seconds": round(outcome.seconds, 3),
        "images_per_second": round(steps * cell.recipe.batch / outcome.seconds, 1),
        "selected": selected,
        "execution": {
            **execution.model_dump(),
            "device_name": device_name(execution.device),
            "process": settings_in_force(),
            "routing_taken": taken(),
            "convolutions": CHOICES.used(),
        },
        **source,
    }
    write_json(folder.training, record)
    folder.state.unlink(missing_ok=True)


def main(path: str) -> None:
    """Entry point of each process of a group."""
    request = json.loads(Path(path).read_bytes())
    cell = Cell(**{**request["cell"], "path": Path(request["cell"]["path"])})
    output, root = Path(request["output"]), request["data_root"]
    execution = Execution.model_validate(request["execution"])
    folder = output / cell.path
    # The first process alone logs; the others would only begin runs of the same name.
    mode = execution.wandb if process_rank() == 0 else "off"
    mirror = cell_mirror(cell, request["benchmark"], folder, mode)
    train_cell(
        cell,
        output,
        execution,
        data_root=None if root is None else Path(root),
        loggers=[] if mirror is None else [mirror],
        console=Console(stderr=True),
    )
    if mirror is not None:
        mirror.close()
