"""The job that measures a trained cell: every measure without a record, from its checkpoint."""

from __future__ import annotations

import time
from functools import partial

from capsbench.capsules.backends import use_backend
from capsbench.contracts import Model
from capsbench.files.atomic import clear_unfinished_writes, write_npz
from capsbench.measures import (
    MeasureConfig,
    MeasureContext,
    MeasureResult,
    load_measure,
    run_measure,
)
from capsbench.measures._objects import with_objects
from capsbench.names import without_folder
from capsbench.progress import progress_bar
from capsbench.records import CellFolder, MeasureRecord, Provenance, TrainingRecord
from capsbench.running.cell import Cell
from capsbench.running.checkpoints import load_checkpoint
from capsbench.running.session import Session
from capsbench.training.devices import device_name


def missing_measures(cell: Cell, folder: CellFolder) -> list[str]:
    """Return the names of the cell's measures that have no record yet."""
    return [name for name in cell.measures if not folder.measure(name).is_file()]


def measure_cell(cell: Cell, session: Session) -> None:
    """Compute and record the missing measures of a trained cell; nothing is trained.

    A cell that diverged has no weights, and no measures. Its sources must have been trained.

    Args:
        cell: The cell.
        session: The session; its device must be resolved.
    """
    folder, device = session.folder(cell), session.execution.device
    missing = missing_measures(cell, folder)
    if not missing or _diverged(folder):
        return
    clear_unfinished_writes(folder.path)
    data = cell.build_data(session.data_root)
    model = _trained_model(cell, session)
    sources = {
        label: _trained_model(source, session)
        for label, source in cell.sources.items()
        if not _diverged(session.folder(source))
    }
    for name in missing:
        config = cell.measures[name]
        started = time.perf_counter()
        with progress_bar(session.console) as progress:
            bar = progress.add_task(
                f"{cell.title}, seed {cell.seed}: {config.measure}",
                total=config.num_progress_steps,
                note="",
            )
            context = MeasureContext(device, partial(progress.advance, bar), sources)
            result = run_measure(config, model, data, context)
        result = result._replace(per_image=with_objects(result.per_image, data))
        seconds = time.perf_counter() - started
        save_measure(folder, name, config, result, rule=cell.rule, seconds=seconds, device=device)


def save_measure(
    folder: CellFolder,
    name: str,
    config: MeasureConfig,
    result: MeasureResult,
    *,
    rule: str,
    seconds: float,
    device: str,
) -> None:
    """Write the record of a measure and its per-image arrays.

    Args:
        folder: Folder of the cell.
        name: Name of the record, ``<measure>-<fingerprint>``.
        config: The measure.
        result: Its result.
        rule: Selection rule of the weights.
        seconds: Wall time.
        device: Device of the model.
    """
    write_npz(folder.per_image(name), result.per_image)
    record = MeasureRecord(
        measure=without_folder(config.measure),
        revision=load_measure(config.measure).revision,
        arguments=config.model_dump(mode="json", exclude={"measure"}),
        rule=rule,
        values=tuple(result.values),
        notes=result.notes,
        seconds=round(seconds, 3),
        device=device_name(device),
        provenance=Provenance.now(),
    )
    record.save(folder.measure(name))


def _trained_model(cell: Cell, session: Session) -> Model:
    """Load a cell's selected model onto the device, in evaluation mode."""
    checkpoint = session.folder(cell).checkpoint(cell.rule)
    model = load_checkpoint(checkpoint, cell.model).to(session.execution.device).eval()
    use_backend(model, session.execution.backend)
    return model


def _diverged(folder: CellFolder) -> bool:
    return TrainingRecord.load(folder.training).status == "diverged"
