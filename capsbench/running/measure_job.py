"""The job that measures a trained cell: every measure without a record, from its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from functools import cache, partial

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
from capsbench.measures._repeated_passes import repeated_pass_notes
from capsbench.names import without_folder
from capsbench.progress import progress_bar
from capsbench.records import CellFolder, MeasureRecord, Provenance
from capsbench.records.cell_files import file_sha256, has_measure, load_training
from capsbench.records.cell_files import load_measure as load_measure_record
from capsbench.running.cell import Cell
from capsbench.running.checkpoints import load_checkpoint
from capsbench.running.session import Session
from capsbench.training.devices import device_name, use_threads


def missing_measures(cell: Cell, folder: CellFolder) -> list[str]:
    """Return the names of the cell's measures that have no record yet.

    Raises:
        UserError: A record is damaged.
    """
    return [name for name in cell.measures if not has_measure(folder, name)]


def measure_cell(
    cell: Cell, session: Session, *, names: Collection[str] = (), keep_empty: bool = True
) -> dict[str, MeasureRecord]:
    """Compute and record the missing measures of a trained cell; nothing is trained.

    A cell that diverged has no weights, and no measures. Its sources must have been trained.

    Args:
        cell: The cell.
        session: The session; its device must be resolved.
        names: Names of the measures; all of the cell if empty.
        keep_empty: Record a measure without values too, whose notes have the reasons: a benchmark
            lists it on its page, and does not repeat it. If False, it is tried again each time.

    Returns:
        The records that were not written, by name.
    """
    folder = session.folder(cell)
    missing = missing_measures(cell, folder)
    if not keep_empty:
        done = [name for name in cell.measures if name not in missing]
        missing += [name for name in done if not load_measure_record(folder, name).values]
    if names:
        missing = [name for name in missing if name in names]
    if not missing or _diverged(folder):
        return {}
    clear_unfinished_writes(folder.path)
    with use_threads(cell.config.threads):
        return _measure(cell, missing, session, keep_empty)


def _measure(
    cell: Cell, missing: Sequence[str], session: Session, keep_empty: bool
) -> dict[str, MeasureRecord]:
    """Compute and record measures of a trained cell; return the records that were not written."""
    folder, device = session.folder(cell), session.execution.device
    data = cell.build_data(session.data_root)
    model = _trained_model(cell, session)
    sources = {
        label: _trained_model(source, session)
        for label, source in cell.sources.items()
        if not _diverged(session.folder(source))
    }
    model_notes = cache(partial(repeated_pass_notes, data=data, device=device))
    not_written = dict[str, MeasureRecord]()
    for name in missing:
        config = cell.measures[name]
        started = time.perf_counter()
        with progress_bar(session.console) as progress:
            bar = progress.add_task(
                f"{cell.title}, seed {cell.seed}: {config.measure}",
                total=config.num_progress_steps,
                note="",
            )
            advance = partial(progress.advance, bar)
            context = MeasureContext(device, advance, sources, model_notes)
            result = run_measure(config, model, data, context)
        result = result._replace(per_image=with_objects(result.per_image, data))
        record = measure_record(
            config,
            result,
            [cell.sources[each].config.fingerprint for each in config.source_models],
            cell=cell.config.folder_name,
            rule=cell.rule,
            seconds=time.perf_counter() - started,
            device=device,
        )
        if result.values or keep_empty:
            save_measure(folder, name, record, result)
        else:
            not_written[name] = record
    return not_written


def measure_record(
    config: MeasureConfig,
    result: MeasureResult,
    sources: Sequence[str],
    *,
    cell: str,
    rule: str,
    seconds: float,
    device: str,
) -> MeasureRecord:
    """Return the record of a measure.

    Args:
        config: The measure.
        result: Its result.
        sources: Identities of the models that took part, in order.
        cell: Name of the cell's folder.
        rule: Selection rule of the weights.
        seconds: Wall time.
        device: Device of the model.
    """
    return MeasureRecord(
        measure=without_folder(config.measure),
        revision=load_measure(config.measure).revision,
        arguments=config.model_dump(mode="json", exclude={"measure"}),
        rule=rule,
        values=tuple(result.values),
        notes=result.notes,
        seconds=round(seconds, 3),
        cell=cell,
        sources=tuple(sources),
        device=device_name(device),
        provenance=Provenance.now(),
    )


def save_measure(
    folder: CellFolder, name: str, record: MeasureRecord, result: MeasureResult
) -> None:
    """Write the record of a measure and its per-image arrays.

    Args:
        folder: Folder of the cell.
        name: Name of the record, ``<measure>-<fingerprint>``.
        record: The record, without the sum of the arrays.
        result: The result that it is made of.
    """
    write_npz(folder.per_image(name), result.per_image)
    sha256 = file_sha256(folder.per_image(name))
    record.model_copy(update={"arrays_sha256": sha256}).save(folder.measure(name))


def _trained_model(cell: Cell, session: Session) -> Model:
    """Load a cell's selected model onto the device, in evaluation mode."""
    checkpoint = session.folder(cell).checkpoint(cell.rule)
    model = load_checkpoint(checkpoint, cell.model).to(session.execution.device).eval()
    use_backend(model, session.execution.backend)
    return model


def _diverged(folder: CellFolder) -> bool:
    return load_training(folder).status == "diverged"
