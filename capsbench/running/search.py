"""The search for recipes: every model gets the same trials, judged on validation images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capsbench.errors import UserError
from capsbench.files.atomic import is_present, remove
from capsbench.records import CellFolder, SearchRecord, Trial
from capsbench.records.cell_files import load_failure, load_training
from capsbench.running.carry_out import carry_out
from capsbench.running.cell import Cell
from capsbench.running.cell_state import load_complete_training
from capsbench.running.job_request import Outcome
from capsbench.running.jobs import CellJob, Job
from capsbench.running.outcome_lines import print_failure
from capsbench.running.plan import plan, select_models
from capsbench.running.session import Session
from capsbench.schema import Benchmark, ModelEntry
from capsbench.schema.parts import SEARCHED


def search(
    benchmark: Benchmark, session: Session, *, models: Sequence[str] | None
) -> tuple[Benchmark, SearchRecord]:
    """Train every model with every recipe of the grid, and give each model its best one.

    A trial is a complete training with the first seed of the protocol, kept like any other, so that
    the chosen one is the cell of that seed. The best trial has the highest validation accuracy at
    the step that the protocol's rule selects; the first in the grid wins a tie. A trial that
    diverges or fails is never chosen.

    Args:
        benchmark: The protocol.
        session: The session; its device must be resolved.
        models: Labels or names of the requested models; all if None.

    Returns:
        The protocol in which each model has its recipe, and the trials.

    Raises:
        UserError: The benchmark varies something, or no trial of a model has a result.
    """
    trials: list[Trial] = []
    chosen: dict[str, ModelEntry] = {}
    planned = plan_trials(benchmark, models, session.data_root, session.execution.device)
    _train([cell for _, cells in planned for cell in cells], benchmark.name, session)
    for entry, cells in planned:
        tried = [
            _trial(cell, values, session)
            for values, cell in zip(benchmark.trials, cells, strict=True)
        ]
        best = max(tried, key=lambda trial: -1.0 if trial.accuracy is None else trial.accuracy)
        if best.accuracy is None:
            raise UserError(
                f"all {len(tried)} trials of {entry.label} diverged or failed; change search"
            )
        chosen[entry.label] = _with_recipe(entry, best.recipe, len(tried))
        trials += [trial.model_copy(update={"chosen": trial is best}) for trial in tried]
    entries = tuple(chosen.get(entry.label, entry) for entry in benchmark.models)
    tuned = Benchmark.model_validate(benchmark.model_dump() | {"models": entries})
    return tuned, SearchRecord(seed=benchmark.seeds[0], trials=tuple(trials))


def plan_trials(
    benchmark: Benchmark, models: Sequence[str] | None, data_root: Path | None, device: str
) -> list[tuple[ModelEntry, list[Cell]]]:
    """List the cells of each requested model's trials, in the order of the grid.

    Args:
        benchmark: The protocol.
        models: Labels or names of the requested models; all if None.
        data_root: Folder of local data files.
        device: Kind of device, resolved.

    Raises:
        UserError: The benchmark varies something.
    """
    if benchmark.vary is not None:
        varied = benchmark.vary.place or benchmark.vary.name
        raise UserError(
            f"{benchmark.name} varies {varied}: --search is for benchmarks that vary "
            "nothing; name one value by --set vary=null and --set"
        )
    trials = []
    for entry in select_models(benchmark.models, models):
        protocols = [_trial_protocol(benchmark, entry, values) for values in benchmark.trials]
        cells = [
            cell for each in protocols for cell in plan(each, data_root=data_root, device=device)
        ]
        trials.append((entry, cells))
    return trials


def _trial_protocol(benchmark: Benchmark, entry: ModelEntry, values: dict[str, float]) -> Benchmark:
    """Return the protocol of one trial: one model, one seed, no measure of other models."""
    model = _with_recipe(entry, values, len(benchmark.trials))
    measures = tuple(m for m in benchmark.measures if not m.source_models)
    changes = {"models": (model,), "seeds": benchmark.seeds[:1], "matched": None, "published": ()}
    return benchmark.model_copy(update={**changes, "measures": measures})


def _with_recipe(entry: ModelEntry, values: dict[str, float], count: int) -> ModelEntry:
    reason = f"the best of {count} trials on validation images"
    return entry.model_copy(update={"recipe": entry.recipe | values, "reason": reason})


def has_failed_trial(record: SearchRecord, session: Session) -> bool:
    """Check if a trial of a search has failed; one that diverged has not."""
    folders = (CellFolder(session.output / trial.path) for trial in record.trials)
    return any(map(_has_failed, folders))


def _has_failed(folder: CellFolder) -> bool:
    return is_present(folder.failure) and not is_present(folder.training)


def _train(cells: Sequence[Cell], benchmark: str, session: Session) -> None:
    """Train the trials of all models that are not trained yet, and print the outcome of each."""
    jobs = []
    for cell in cells:
        folder = session.folder(cell)
        if session.retry_failed and session.is_first:
            remove(folder.failure)
        if load_complete_training(cell, folder) or is_present(folder.failure):
            _print_outcome(cell, session)
        else:
            jobs.append(CellJob(kind="train", benchmark=benchmark, cell=cell))

    def on_done(job: Job, outcome: Outcome) -> None:
        if outcome.status != "done":
            print_failure(job, outcome, session)
        elif isinstance(job, CellJob):
            _print_outcome(job.cell, session)

    carry_out(jobs, session, on_done)


def _print_outcome(cell: Cell, session: Session) -> None:
    if session.is_first:
        folder = session.folder(cell)
        accuracy = _accuracy(cell, session)
        values = ", ".join(f"{name} {getattr(cell.recipe, name):g}" for name in SEARCHED)
        if accuracy is not None:
            outcome = f"validation accuracy {accuracy:.3f}"
        else:
            outcome = load_failure(folder).problem if _has_failed(folder) else "diverged"
        session.print(f"{cell.label}, {values}: {outcome}")


def _trial(cell: Cell, values: dict[str, float], session: Session) -> Trial:
    """Read the outcome of a trial."""
    folder = session.folder(cell)
    return Trial(
        label=cell.label,
        recipe=values,
        path=cell.path.as_posix(),
        accuracy=_accuracy(cell, session),
        seconds=load_training(folder).seconds if is_present(folder.training) else 0.0,
    )


def _accuracy(cell: Cell, session: Session) -> float | None:
    """Return the validation accuracy of the selected weights; None if it diverged or failed."""
    folder = session.folder(cell)
    if not is_present(folder.training):
        return None
    record = load_training(folder)
    selected = record.selected.get(cell.rule)
    return None if record.status == "diverged" or selected is None else selected.accuracy
