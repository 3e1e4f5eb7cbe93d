"""The job that measures a trained cell: every measure without a record, from its checkpoint."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, partial
from itertools import count
from typing import Self

import torch

from capsbench.capsules.backends import use_backend
from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.files.atomic import write_npz
from capsbench.files.holder import Holder
from capsbench.files.lease import BusyError, Lease, read_lease, try_lease
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
from capsbench.running.step_rate import StepRate
from capsbench.training.devices import device_name, device_place, threads_on, use_threads
from capsbench.training.initial import build_initial

WAIT = 0.5  # seconds between two looks at measures of other processes


def missing_measures(cell: Cell, folder: CellFolder) -> list[str]:
    """Return the names of the cell's measures that have no record yet.

    Raises:
        UserError: A record is damaged.
    """
    return [name for name in cell.measures if not has_measure(folder, name)]


def measure_cell(
    cell: Cell,
    session: Session,
    *,
    names: Collection[str] = (),
    keep_empty: bool = True,
    on_wait: Callable[[Holder], None] | None = None,
) -> dict[str, MeasureRecord]:
    """Compute and record the missing measures of a trained cell; nothing is trained.

    A cell that diverged has no weights, and no measures. Its sources must have been trained. Each
    measure has a lease: several processes share the measures of a cell, and none is computed twice.

    Args:
        cell: The cell.
        session: The session; its device must be resolved.
        names: Names of the measures; all of the cell if empty.
        keep_empty: Record a measure without values too, whose notes have the reasons: a benchmark
            lists it on its page, and does not repeat it. If False, it is tried again each time.
        on_wait: Called once with a process that computes the last missing measures, before the wait
            for it. If None, there is no wait.

    Returns:
        The records that were not written, by name.

    Raises:
        BusyError: Other processes compute all that are still missing, and there is no wait.
        LeaseLostError: Another process has taken over, since this one was suspended.
    """
    folder = session.folder(cell)
    missing = [
        name
        for name in cell.measures
        if (not names or name in names) and _is_missing(folder, name, keep_empty)
    ]
    if not missing or _diverged(folder):
        return {}
    threads = cell.config.threads or 1  # of a training on an accelerator that is measured on a CPU
    with use_threads(threads_on(session.execution.device, threads)):
        return _measure(cell, missing, session, keep_empty, on_wait)


def _is_missing(folder: CellFolder, name: str, keep_empty: bool) -> bool:
    if not has_measure(folder, name):
        return True
    return not keep_empty and not load_measure_record(folder, name).values


def _measure(
    cell: Cell,
    missing: Sequence[str],
    session: Session,
    keep_empty: bool,
    on_wait: Callable[[Holder], None] | None,
) -> dict[str, MeasureRecord]:
    """Compute and record measures, first those that no other process is computing."""
    folder = session.folder(cell)
    loaded = cache(partial(_Loaded.of, cell, session))  # not for measures that others have done
    not_written = dict[str, MeasureRecord]()
    waits = False
    while missing:
        busy = []
        for name in missing:
            task = f"measure {cell.title}, seed {cell.seed}: {cell.measures[name].measure}"
            held = try_lease(folder.measure_lease(name), task)
            if held is None:
                busy.append(name)
                continue
            with held:
                if not _is_missing(folder, name, keep_empty):  # another process has just done it
                    continue
                record, result = loaded().measure(name, held)
                held.require_held()
                if result.values or keep_empty:
                    save_measure(folder, name, record, result)
                else:
                    not_written[name] = record
        if len(busy) == len(missing):
            holder = read_lease(folder.measure_lease(busy[0]))
            if on_wait is None:
                raise BusyError(holder)
            if holder is not None and not waits:
                on_wait(holder)
                waits = True
            time.sleep(WAIT)
        missing = busy
    return not_written


@dataclass(frozen=True)
class _Loaded:
    """A trained cell in memory, with the models that its measures need beside it."""

    cell: Cell
    session: Session
    data: ImageDataModule
    model: Model
    sources: Mapping[str, Model]
    model_notes: Callable[[Model], tuple[str, ...]]
    untrained: Callable[[], Model]

    @classmethod
    def of(cls, cell: Cell, session: Session) -> Self:
        """Load a cell onto the device of the session."""
        data, device = cell.build_data(session.data_root), session.execution.device
        sources = {
            label: _trained_model(source, session)
            for label, source in cell.sources.items()
            if not _diverged(session.folder(source))
        }
        model_notes = cache(partial(repeated_pass_notes, data=data, device=device))
        untrained = cache(partial(_untrained_model, cell, session))
        model = _trained_model(cell, session)
        return cls(cell, session, data, model, sources, model_notes, untrained)

    def measure(self, name: str, held: Lease) -> tuple[MeasureRecord, MeasureResult]:
        """Compute a measure; its lease states the progress."""
        cell, device, config = self.cell, self.session.execution.device, self.cell.measures[name]
        untrained = self.untrained() if load_measure(config.measure).controlled else None
        steps = config.num_progress_steps * (1 if untrained is None else 2)
        done, rate = count(1), StepRate()
        held.update(device=device_place(device), step=0, steps=steps)
        started = time.perf_counter()
        with progress_bar(self.session.console) as progress:
            bar = progress.add_task(
                f"{cell.title}, seed {cell.seed}: {config.measure}", total=steps, note=""
            )

            def advance() -> None:
                step = next(done)
                progress.update(bar, completed=step)
                held.update(step=step, steps_per_second=rate(step))

            context = MeasureContext(
                device, advance, self.sources, self.model_notes, untrained=untrained
            )
            result = run_measure(config, self.model, self.data, context)
        result = result._replace(per_image=with_objects(result.per_image, self.data))
        record = measure_record(
            config,
            result,
            [cell.sources[each].config.fingerprint for each in config.source_models],
            cell=cell.config.folder_name,
            rule=cell.rule,
            seconds=time.perf_counter() - started,
            device=device,
        )
        return record, result


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


def untrained_model(cell: Cell, step: int) -> Model:
    """Build a cell's network before training, with the schedules of the trained one.

    Its weights and statistics are those with which the training began, bit for bit. A schedule,
    such as an inverse temperature, is not learned: a control with that of the first step would
    differ by the schedule as well. The random state is left as it was.

    Args:
        cell: The cell.
        step: Step of the weights of the trained network.
    """
    with torch.random.fork_rng(devices=[]):
        model = build_initial(cell.build_model, cell.seed)
    model.advance(max(step - 1, 0) / cell.recipe.steps)  # as before that step
    return model


def _untrained_model(cell: Cell, session: Session) -> Model:
    """Build a cell's network before training on the device, in evaluation mode."""
    selected = load_training(session.folder(cell)).selected[cell.rule]
    model = untrained_model(cell, selected.step).to(session.execution.device).eval()
    use_backend(model, session.execution.backend)
    return model


def _diverged(folder: CellFolder) -> bool:
    return load_training(folder).status == "diverged"
