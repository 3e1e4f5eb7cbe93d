"""The list of a dry run: every cell, its state, and the estimated time, memory and disk."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from capsbench.cli.options import plain_console, print_json
from capsbench.environment.streams import print_line

if TYPE_CHECKING:
    from capsbench.running.estimate import TrainingEstimate
    from capsbench.running.protocol import PlannedCells
    from capsbench.running.session import Session

TO_TRAIN = ("to do", "resumable")


def print_dry_run(planned: PlannedCells, session: Session, *, as_json: bool) -> None:
    """Print the cells with their states and estimates; nothing is written.

    Args:
        planned: The cells, and the expected time.
        session: The session.
        as_json: Print JSON.
    """
    from capsbench.records.cell_files import load_failure
    from capsbench.records.failure import RETRY
    from capsbench.reporting.formatting import counted
    from capsbench.running.cell_state import cell_state, is_complete
    from capsbench.running.estimate import estimate_trainings
    from capsbench.training.devices import device_name, resolve_device

    cells = planned.cells
    device = resolve_device(session.execution.device)  # estimates are those of this machine
    states = [cell_state(cell, session) for cell in cells]
    folders = [session.folder(cell) for cell in cells]
    failures = [
        load_failure(folder) if state == "failed" else None
        for folder, state in zip(folders, states, strict=True)
    ]
    todo = [
        cell
        for cell, folder, state in zip(cells, folders, states, strict=True)
        if state in TO_TRAIN
        or (state == "failed" and session.retry_failed and not is_complete(cell, folder))
    ]
    estimates = dict(
        zip(
            [cell.path for cell in todo],
            estimate_trainings(todo, device, session.execution.backend),
            strict=True,
        )
    )
    rows: list[dict[str, Any]] = []
    for cell, state, failure in zip(cells, states, failures, strict=True):
        estimate = estimates.get(cell.path)
        rows.append(
            {
                "label": cell.title,
                "model": cell.model,
                "seed": cell.seed,
                "folder": str(session.output / cell.path),
                "state": state,
                "training_seconds": estimate and estimate.seconds,
                "vote_bytes": estimate and estimate.vote_bytes,
                "disk_bytes": estimate and estimate.disk_bytes,
                "state_bytes": estimate and estimate.state_bytes,
                "problem": estimate and estimate.problem,
                "failed_job": failure and failure.job,
                "failure": failure and failure.reason,
                "log": failure and failure.log and str(session.folder(cell).path / failure.log),
            }
        )
    if as_json:
        print_json(rows)
        return
    _print_table(rows)
    for row in rows:
        if row["failure"]:
            log = f"; see {row['log']}" if row["log"] else ""
            print_line(f"{row['label']}, seed {row['seed']}: {row['failure']}{log}")
    failing = {row["label"]: row["problem"] for row in rows if row["problem"]}
    for label, problem in failing.items():
        print_line(f"{label}: a training step fails here: {problem}")
    if any(failures) and not session.retry_failed:
        print_line(f"failed cells are left out; {RETRY} tries them again")
    if estimates:
        hardware = dict.fromkeys(device_name(device, cell.config.threads) for cell in todo)
        _print_total(list(estimates.values()), " and ".join(hardware))
    if planned.repeated:
        print_line(
            f"{counted(planned.repeated, 'further training')} will repeat the best trials, which "
            "are not known yet, with other tuning seeds"
        )
    if planned.expected:
        print_line(f"expected time of the whole protocol, with measures: {planned.expected}")


def _print_table(rows: Sequence[dict[str, Any]]) -> None:
    from rich.table import Table

    from capsbench.reporting.formatting import duration, size

    table = Table("label", "model", "seed", box=None, pad_edge=False)
    table.add_column("folder", overflow="fold")
    for name in ("state", "training", "votes", "disk"):
        table.add_column(name)
    for row in rows:
        seconds, votes, disk = row["training_seconds"], row["vote_bytes"], row["disk_bytes"]
        cost = (
            "" if seconds is None else duration(seconds),
            "" if votes is None else size(votes),
            "" if disk is None else size(disk),
        )
        table.add_row(*(str(row[name]) for name in list(row)[:5]), *cost)
    plain_console().print(table)


def _print_total(estimates: Sequence[TrainingEstimate], hardware: str) -> None:
    from capsbench.reporting.formatting import counted, duration, size

    plain_console().print(
        f"{counted(len(estimates), 'training')} to do, about "
        f"{duration(sum(each.seconds or 0 for each in estimates))} of steps on {hardware} "
        "(from a few timed steps, without validation and measures); "
        f"{size(sum(each.disk_bytes for each in estimates))} of checkpoints, and at most "
        f"{size(max(each.state_bytes for each in estimates))} of resumable state",
        soft_wrap=True,
    )
