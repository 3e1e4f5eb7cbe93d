"""The job that trains a cell and writes its record."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch
from pytorch_lightning.loggers import Logger

from capsbench.capsules.backends import use_backend
from capsbench.contracts import EXPONENT
from capsbench.data.images import ImageDataModule
from capsbench.data.overlap import measure_overlap
from capsbench.data.splits import largest_class
from capsbench.environment.signals import raise_pending_stop
from capsbench.files.atomic import is_present, remove, write_rows
from capsbench.files.lease import BusyError, Lease, read_lease, try_lease
from capsbench.names import without_folder
from capsbench.pretrained import CONFIG, WEIGHTS
from capsbench.process import active_settings
from capsbench.profiling.model_cost import count_flops
from capsbench.records import CellFolder, Provenance, TrainingRecord
from capsbench.records.cell_files import file_sha256
from capsbench.records.training import ExecutionRecord, Selected
from capsbench.running.cell import Cell
from capsbench.running.cell_state import is_complete
from capsbench.running.checkpoints import save_checkpoint, weights_sha256
from capsbench.running.mirror import training_mirror
from capsbench.running.session import Session
from capsbench.running.step_rate import StepRate
from capsbench.training.devices import device_name, device_place, processes_note, use_threads
from capsbench.training.loggers import make_loggers
from capsbench.training.probability_exponent import ExponentFit, fit_model
from capsbench.training.selection import Row
from capsbench.training.train import TrainingResult, train


def train_cell(cell: Cell, session: Session) -> None:
    """Train a cell in this process and, in the first process of a group, write its record.

    An interrupted training continues from its last state. A training that diverges leaves a record
    with the step. ``training.json`` is written last.

    Args:
        cell: The cell.
        session: The session; its device must be resolved.

    Raises:
        BusyError: Another process is training the cell.
        LeaseLostError: Another process has taken over, since this one was suspended.
        Stopped: A signal ended the training after its state was saved.
        UserError: A data file is missing.
    """
    with use_threads(cell.config.threads):
        _train_and_record(cell, session.folder(cell), session)
    raise_pending_stop()  # of a signal that came when nothing was left to save


def _train_and_record(cell: Cell, folder: CellFolder, session: Session) -> None:
    if not session.is_first:
        _train(cell, folder, session, None, [])
        return
    # Held by the process that trains, so that one whose parent was killed keeps it.
    held = try_lease(folder.lease, f"train {cell.title}, seed {cell.seed}")
    if held is None:
        raise BusyError(read_lease(folder.lease))
    with held:
        if not is_complete(cell, folder):  # else another process has just finished it
            _set_aside(cell, folder, session)
            cell.config.save(folder.config)
            if note := processes_note(cell.build_model(), session.execution.processes):
                session.print(f"{cell.title}, seed {cell.seed}: {note}")
            with training_mirror(cell, session) as curves:
                loggers = make_loggers(session.execution.loggers, folder.path) + curves
                result, data = _train(cell, folder, session, held, loggers)
                held.require_held()
                _write_record(cell, folder, session, result, data)


def _set_aside(cell: Cell, folder: CellFolder, session: Session) -> None:
    """Set aside the record of a finished training that lost files, before it is done again.

    Without it, nothing states which weights were measured: all measures are removed.
    """
    measures = folder.path / "measures"
    if not any(map(is_present, (folder.training, folder.replaced, measures))):
        return
    session.print(
        f"{cell.title}, seed {cell.seed}: files of the finished training are missing in "
        f"{folder.path}; it is trained again"
    )
    if is_present(folder.training):
        folder.training.replace(folder.replaced)
    elif not is_present(folder.replaced):
        remove(measures)


def _discard_measures(
    cell: Cell, folder: CellFolder, session: Session, weights: Mapping[str, str]
) -> None:
    """Remove measures of the weights of before, unless the new weights are the same.

    On the CPU, the same bits come back; on a GPU, slightly different ones.
    """
    measures = folder.path / "measures"
    if not is_present(folder.replaced):
        return
    before = TrainingRecord.load(folder.replaced).weights
    same = weights and before == weights
    if is_present(measures) and not same:
        session.print(
            f"{cell.title}, seed {cell.seed}: its weights are not exactly those of before; the "
            "next run of each benchmark with it measures it again"
        )
        remove(measures)
    remove(folder.replaced)


def _train(
    cell: Cell, folder: CellFolder, session: Session, held: Lease | None, loggers: list[Logger]
) -> tuple[TrainingResult, ImageDataModule]:
    """Train a cell; only the first process of a group, which holds the lease, writes files."""
    data = cell.build_data(session.data_root)
    execution = session.execution
    rate = StepRate()

    def require_held() -> None:
        if held is not None:
            held.require_held()

    def on_step(step: int) -> None:
        if held is not None:
            held.update(step=step, steps_per_second=rate(step))

    def on_rows(rows: list[Row]) -> None:
        require_held()
        write_rows(folder.trajectory, rows)
        if held is not None:
            held.update(note=f"validation accuracy {rows[-1]['validation_accuracy']:.3f}")

    if held is not None:
        held.update(steps=cell.recipe.steps, device=device_place(execution.device))
    result = train(
        cell.build_model,
        data,
        cell.recipe,
        execution,
        seed=cell.seed,
        state=folder.state,
        profile=folder.profile if execution.profile else None,
        loggers=loggers,
        on_step=on_step,
        on_rows=on_rows,
        before_save=require_held,
        follow=cell.config.follow,
    )
    return result, data


def _write_record(
    cell: Cell,
    folder: CellFolder,
    session: Session,
    result: TrainingResult,
    data: ImageDataModule,
) -> None:
    provenance, execution = Provenance.now(), session.execution
    accuracies = {int(row["step"]): row["validation_accuracy"] for row in result.rows}
    model = cell.build_model()
    selected = {}
    fits = _fit_exponents(cell, session, result, data)
    for rule, (step, weights) in result.chosen.items():
        exponent, note = fits[step]
        if note is not None:
            session.print(f"{cell.title}, seed {cell.seed}: probabilities are not fitted: {note}")
        selected[rule] = Selected(
            step=step,
            accuracy=accuracies[step],
            probability_exponent=exponent,
            exponent_note=note,
        )
        model.load_state_dict({**weights, EXPONENT: torch.tensor(exponent)})
        config = cell.config.model_dump(mode="json")
        facts: dict[str, Any] = {
            "model": without_folder(cell.model),
            "label": cell.label,
            "rule": rule,
            "step": step,
            "validation_accuracy": accuracies[step],
            **{name: config[name] for name in ("data", "views", "recipe", "seed")},
            **provenance.model_dump(mode="json"),
        }
        save_checkpoint(folder.checkpoint(rule), model, cell.model, facts)
    steps = result.diverged_at or cell.recipe.steps
    record = TrainingRecord(
        status="trained" if result.diverged_at is None else "diverged",
        diverged_at=result.diverged_at,
        parameters=sum(weight.numel() for weight in model.parameters()),
        flops=count_flops(model),
        images={"train": len(data.split("train")), "validation": len(data.split("validation"))},
        overlap=measure_overlap(data),
        largest_class=largest_class(data.split("test").targets),
        seconds=round(result.seconds, 3),
        images_per_second=round(steps * cell.recipe.batch_size / result.seconds, 1),
        selected=selected,
        zero_gradient=result.zero_gradient,
        cell=cell.config.folder_name,
        files=_checksums(folder, selected),
        weights={rule: weights_sha256(folder.checkpoint(rule)) for rule in selected},
        execution=ExecutionRecord(
            **execution.model_dump(include=set(ExecutionRecord.model_fields)),
            device_name=device_name(execution.device),
            backends_used=result.backends_used,
            process=active_settings(),
        ),
        provenance=provenance,
    )
    if record.gradient_note:
        session.print(f"{cell.title}, seed {cell.seed}: {record.gradient_note}")
    _discard_measures(cell, folder, session, record.weights)
    record.save(folder.training)
    folder.state.unlink(missing_ok=True)


def _fit_exponents(
    cell: Cell, session: Session, result: TrainingResult, data: ImageDataModule
) -> dict[int, ExponentFit]:
    """Fit the exponent of the probabilities of each step whose weights a rule selected."""
    chosen = dict(result.chosen.values())  # rules that select the same step have the same weights
    if result.diverged_at is not None:
        return dict.fromkeys(chosen, ExponentFit(1, "the training diverged"))
    device = session.execution.device
    model = cell.build_model().to(device)
    use_backend(model, session.execution.backend)
    fits = {}
    for step, weights in chosen.items():
        model.load_state_dict(weights)
        fits[step] = fit_model(model, data, device, cell.seed)
    return fits


def _checksums(folder: CellFolder, rules: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the trajectory and of the checkpoints, by path in the folder."""
    weights = (folder.checkpoint(rule) / name for rule in rules for name in (WEIGHTS, CONFIG))
    return {
        path.relative_to(folder.path).as_posix(): file_sha256(path)
        for path in (folder.trajectory, *weights)
        if path.is_file()  # a training that diverged early has no trajectory
    }
