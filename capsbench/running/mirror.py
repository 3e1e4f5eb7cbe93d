"""Runs on Weights & Biases: one of each training, of each cell under a benchmark, of a benchmark.

The run of a training belongs to the training alone, which several benchmarks can share: nothing in
it depends on one of them. What a benchmark makes of its cells is in runs of the benchmark's group.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from capsbench.contracts import Model
from capsbench.files.atomic import is_present, read_json, write_json
from capsbench.fingerprint import fingerprint
from capsbench.names import without_folder
from capsbench.records import BenchmarkFolder, BenchmarkRecord, CellResult, Results, load_results
from capsbench.records.provenance import current_commit
from capsbench.reporting.stamp import read_stamp
from capsbench.running.cell import Cell
from capsbench.running.session import Session

if TYPE_CHECKING:
    from pytorch_lightning.loggers import Logger

    from capsbench.reporting.wandb.run import Destination, Run


class TrainingMirror:
    """The run of a training, while it is trained; without a run, nothing is sent.

    Args:
        run: The run; None if there is none.
    """

    def __init__(self, run: Run | None) -> None:
        self._run = run

    @property
    def loggers(self) -> list[Logger]:
        """Lightning loggers of its curves."""
        if self._run is None:
            return []
        from capsbench.reporting.wandb.curves import Curves

        return [Curves(self._run)]

    def add_models(self, cell: Cell, session: Session) -> None:
        """Add the selected weights as artifacts, if the session asks for them."""
        if self._run is None or not session.execution.wandb_artifacts:
            return
        from capsbench.reporting.wandb.artifacts import model_artifact

        folder, model = session.folder(cell), without_folder(cell.model)
        for checkpoint in sorted((folder.path / "checkpoints").glob("*")):
            rule = checkpoint.name
            self._run.add_artifact(partial(model_artifact, folder, rule, model), [rule])


@contextmanager
def training_mirror(cell: Cell, session: Session) -> Iterator[TrainingMirror]:
    """Begin the run of a training, outside of the timed training, and end it."""
    run = _begin_training(cell, session)
    try:
        yield TrainingMirror(run)
    finally:
        if run is not None:
            run.finish()


def mirror_benchmark(folder: BenchmarkFolder, session: Session) -> None:
    """Mirror the cells of a benchmark, then the benchmark; what has not changed is not sent again.

    Args:
        folder: Folder of the benchmark, whose page is built.
        session: The session.
    """
    destination = session.destination
    if destination is None:
        return
    stamp = read_stamp(folder.report)
    place = {"project": destination.project, "entity": destination.entity}
    settings = [destination.mode, destination.tags, session.execution.wandb_artifacts]
    here = fingerprint([place, settings])
    page = None if stamp is None else stamp.inputs
    before = read_json(folder.mirrored) if is_present(folder.mirrored) else {}
    known = before["runs"] if before.get("settings") == here else {}
    if known and before["page"] == page:
        return
    results = load_results(folder.path)
    finished = [each for each in results.cells if each.failure is None]
    finished = [each for each in finished if each.training or each.weights]
    runs: dict[str, str] = {}
    for result in finished:
        run_id, content = _identity(result, results)
        if known.get(run_id) == content or _send_cell(result, results, session):
            runs[run_id] = content
    sent = _send_aggregate(results, folder, session) and len(runs) == len(finished)
    # Without the page, the next run sends what is missing.
    mirrored = {"settings": here, "page": page if sent else None, "runs": runs}
    write_json(folder.mirrored, place | mirrored)


def mirror_failure(session: Session) -> str:
    """Return a line on what failed on Weights & Biases during a command; empty if nothing did."""
    destination = session.destination
    if destination is None or not destination.failure:
        return ""
    line = f"Weights & Biases: not everything is there: {destination.failure}"
    if destination.mode == "online":
        place = destination.runs / "wandb"
        line += f"; later: wandb sync --include-online {place}"
    return line


def _begin_training(cell: Cell, session: Session) -> Run | None:
    destination = session.destination
    if destination is None:
        return None
    from capsbench.reporting.wandb.config import training_config
    from capsbench.reporting.wandb.run import begin

    model = cell.build_model()
    name = without_folder(cell.model)
    return begin(
        destination,
        run_id=cell.config.fingerprint,
        name=f"{name}, seed {cell.seed}",
        group=cell.path.parts[0],
        job_type="train",
        config=training_config(cell.config, name, cell.path.as_posix(), _facts(model)),
        notes=f"Training {cell.path.as_posix()} of the runs folder.",
    )


def _facts(model: Model) -> dict[str, Any]:
    from capsbench import __version__
    from capsbench.reporting.wandb.config import architecture

    return architecture(model) | {
        "parameters": sum(weight.numel() for weight in model.parameters()),
        "commit": current_commit(),
        "capsbench_version": __version__,
    }


def _identity(result: CellResult, results: Results) -> tuple[str, str]:
    """Return the id of a cell's run under the benchmark, and a hash of all that it shows."""
    cell, record = result.reference, results.record
    run_id = fingerprint([record.benchmark.name, cell.path])
    records = [each for each in (result.training, *result.measures.values()) if each is not None]
    content = [each.model_dump(mode="json") for each in records]
    protocol = [record.size, record.change_texts, record.benchmark.version]
    return run_id, fingerprint([cell.model_dump(mode="json"), content, protocol])


def _send_cell(result: CellResult, results: Results, session: Session) -> bool:
    """Send a measured cell; return True if all of it succeeded."""
    from capsbench.reporting.wandb.config import evaluation_config
    from capsbench.reporting.wandb.evaluation import fill_evaluation
    from capsbench.reporting.wandb.run import begin

    record = results.record
    run_id, _ = _identity(result, results)
    seed = "" if result.seed is None else f", seed {result.seed}"
    run = begin(
        _destination(session),
        run_id=run_id,
        name=f"{result.title}{seed}",
        group=record.benchmark.name,
        job_type="evaluate",
        config=evaluation_config(result, record),
        notes=_notes(record),
    )
    if run is None:
        return False
    fill_evaluation(run, result)
    if session.execution.wandb_artifacts and result.training is not None:
        _use_model(run, result)
    return _finished(run)


def _send_aggregate(results: Results, folder: BenchmarkFolder, session: Session) -> bool:
    """Send a benchmark; return True if all of it succeeded."""
    from capsbench.reporting.wandb.aggregate import fill_aggregate
    from capsbench.reporting.wandb.artifacts import records_artifact
    from capsbench.reporting.wandb.config import aggregate_config
    from capsbench.reporting.wandb.run import begin

    record = results.record
    run = begin(
        _destination(session),
        run_id=fingerprint([record.benchmark.name, record.size, "aggregate"]),
        name=record.benchmark.name,
        group=record.benchmark.name,
        job_type="aggregate",
        config=aggregate_config(results),
        notes=_notes(record),
    )
    if run is None:
        return False
    fill_aggregate(run, results, folder.report)
    if session.execution.wandb_artifacts:
        run.add_artifact(partial(records_artifact, results, folder), [record.size])
    return _finished(run)


def _notes(record: BenchmarkRecord) -> str:
    return f"{record.benchmark.question.strip()} Reproduce: {record.command}"


def _use_model(run: Run, result: CellResult) -> None:
    from capsbench.reporting.wandb.artifacts import model_artifact

    for rule in {each.rule for each in result.measures.values()}:
        if result.folder.checkpoint(rule).is_dir():
            run.use_artifact(partial(model_artifact, result.folder, rule, result.reference.model))


def _finished(run: Run) -> bool:
    """End a run; return True if all of it succeeded."""
    sent = not run.failed
    run.finish()
    return sent and not run.failed


def _destination(session: Session) -> Destination:
    destination = session.destination
    assert destination is not None
    return destination
