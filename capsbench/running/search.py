"""The search for recipes: every model gets equal trials, judged on validation images."""

from __future__ import annotations

from collections.abc import Sequence

from capsbench.errors import UserError
from capsbench.files.atomic import is_present, remove
from capsbench.files.yaml import write_yaml
from capsbench.records import CellFolder, ProtocolChanges, SearchRecord, Trial
from capsbench.records.cell_files import load_failure, load_training
from capsbench.records.folders import search_file
from capsbench.records.search import SearchedProtocol, TrialRun, best, finalists
from capsbench.reporting.exports.export import portable
from capsbench.running.carry_out import carry_out
from capsbench.running.cell import Cell
from capsbench.running.cell_state import load_complete_training
from capsbench.running.job_request import Outcome
from capsbench.running.jobs import CellJob, Job
from capsbench.running.outcome_lines import print_failure
from capsbench.running.session import Session
from capsbench.running.trials import ModelTrials, PlannedTrial, plan_trials
from capsbench.schema import Benchmark, Search, searched_variant
from capsbench.schema.search import TrialValues


def search(
    benchmark: Benchmark,
    session: Session,
    *,
    changes: ProtocolChanges,
    command: str,
) -> tuple[Benchmark, SearchRecord]:
    """Train the trials of every searched model, and give each one the values of its best trial.

    All trials are drawn before the first is trained, and none is stopped early. A trial is a
    complete training with a seed that is not reported; it is kept and resumed like any other.
    Accuracies are those of validation images at the step that the protocol's rule selects. The best
    trials of each model are trained again with the other tuning seeds, and the one of the highest
    mean is chosen; a training that diverges or fails has an accuracy of 0. The record is written,
    and the chosen values are printed as entries of a benchmark file.

    Args:
        benchmark: The protocol.
        session: The session; its device must be resolved.
        changes: Changes to the shipped protocol, with the requested models.
        command: The command, for the record.

    Returns:
        The protocol with the chosen values, and the record of the search.

    Raises:
        UserError: See `plan_trials`; or no trial of a model has a result.
    """
    models = changes.requested_models
    planned = plan_trials(benchmark, models, session.data_root, session.execution.device)
    _train([(t, t.cells[:1]) for each in planned for t in each.trials], benchmark.name, session)
    runs = [_runs(each, benchmark.search, session) for each in planned]
    _train([(trial, cells[1:]) for each in runs for trial, cells in each], benchmark.name, session)
    outcomes = [[_trial(trial, cells, session) for trial, cells in each] for each in runs]
    record = _record(planned, outcomes, benchmark, session, changes, command)
    tuned = tuned_protocol(benchmark, record)
    if session.is_first:
        path = search_file(session.output, record.name)
        record.save_if_changed(path)
        session.print(f"search: {path}; best of {record.search.trials} trials of each model:")
        for entry in tuned.models:
            if trial := record.chosen(entry.label):
                chosen = entry.model_dump(mode="json", exclude_defaults=True)
                session.print(f"  - {write_yaml(chosen)} # validation {trial.accuracy:.3f}")
    return tuned, record


def tuned_protocol(benchmark: Benchmark, record: SearchRecord) -> Benchmark:
    """Return a protocol in which the searched models have the values of their best trials."""
    models = tuple(map(record.applied_to, benchmark.models))
    return Benchmark.model_validate(benchmark.model_dump() | {"models": models})


def has_failed_trial(record: SearchRecord) -> bool:
    """Check if a training of a search has failed; one that diverged has not."""
    return any(run.outcome == "failed" for trial in record.trials for run in trial.runs)


def _runs(
    trials: ModelTrials, search: Search, session: Session
) -> list[tuple[PlannedTrial, list[Cell]]]:
    """Return the trainings of each trial of a model: all of the finalists, the first of others."""
    tried = [_trial(each, each.cells[:1], session) for each in trials.trials]
    again = finalists(tried, search) if search.finalists > 1 else []
    return [
        (each, each.cells if outcome in again else each.cells[:1])
        for each, outcome in zip(trials.trials, tried, strict=True)
    ]


def _train(
    trainings: Sequence[tuple[PlannedTrial, Sequence[Cell]]], benchmark: str, session: Session
) -> None:
    """Train cells of trials that are not trained yet, and print the outcome of each."""
    jobs: list[Job] = []
    values: dict[str, TrialValues] = {}
    for cell, tried in ((cell, trial.values) for trial, cells in trainings for cell in cells):
        folder = session.folder(cell)
        if session.retry_failed and session.is_first:
            remove(folder.failure)
        if load_complete_training(cell, folder) or is_present(folder.failure):
            _print_outcome(cell, tried, session)
        else:
            job = CellJob(kind="train", benchmark=benchmark, cell=cell)
            jobs.append(job)
            values[job.id] = tried

    def on_done(job: Job, outcome: Outcome) -> None:
        if outcome.status != "done":
            print_failure(job, outcome, session)
        elif isinstance(job, CellJob):
            _print_outcome(job.cell, values[job.id], session)

    carry_out(jobs, session, on_done)


def _print_outcome(cell: Cell, values: TrialValues, session: Session) -> None:
    if session.is_first:
        run = _run(cell, session)
        tried = ", ".join(f"{name} {value}" for each in values for name, value in each.items())
        outcome: str = run.outcome
        if run.accuracy is not None:
            outcome = f"validation accuracy {run.accuracy:.3f}"
        elif run.outcome == "failed":
            outcome = load_failure(session.folder(cell)).problem
        session.print(f"{cell.label}, seed {cell.seed}, {tried}: {outcome}")


def _record(
    planned: Sequence[ModelTrials],
    outcomes: Sequence[Sequence[Trial]],
    benchmark: Benchmark,
    session: Session,
    changes: ProtocolChanges,
    command: str,
) -> SearchRecord:
    """Choose the best trial of every model, and return the record.

    Raises:
        UserError: No trial of a model has a result.
    """
    trials: list[Trial] = []
    for each, tried in zip(planned, outcomes, strict=True):
        winner = best(tried, benchmark.search)
        if winner is None:
            raise UserError(
                f"all {len(tried)} trials of {each.model.label} diverged or failed; change the "
                "ranges of the search, such as --set search.learning_rate=[1e-5,1e-3], or leave "
                "this model out by --models"
            )
        trials += [trial.model_copy(update={"chosen": trial is winner}) for trial in tried]
    folders = [CellFolder(session.output / run.path) for trial in trials for run in trial.runs]
    trainings = [load_training(folder) for folder in folders if is_present(folder.training)]
    return SearchRecord(
        protocol=SearchedProtocol.of(
            searched_variant(benchmark), changes.scale, dict(changes.settings)
        ),
        search=benchmark.search,
        models=tuple(each.model for each in planned),
        trials=tuple(trials),
        devices=tuple(sorted({training.execution.device_name for training in trainings})),
        command=portable(command),
        provenance=max((each.provenance for each in trainings), key=lambda each: each.date),
    )


def _trial(planned: PlannedTrial, cells: Sequence[Cell], session: Session) -> Trial:
    """Read the outcomes of trainings of a trial."""
    return Trial(
        label=cells[0].label,
        recipe=planned.values.recipe,
        arguments=planned.values.arguments,
        runs=tuple(_run(cell, session) for cell in cells),
    )


def _run(cell: Cell, session: Session) -> TrialRun:
    """Read the outcome of a training."""
    folder = session.folder(cell)
    training = load_training(folder) if is_present(folder.training) else None
    selected = None if training is None else training.selected.get(cell.rule)
    trained = training is not None and training.status == "trained"
    return TrialRun(
        seed=cell.seed,
        path=cell.path.as_posix(),
        outcome="failed" if training is None else training.status,
        accuracy=selected.accuracy if trained and selected is not None else None,
        seconds=0.0 if training is None else training.seconds,
    )
