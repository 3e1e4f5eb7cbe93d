"""Runs on Weights & Biases: one of each training, of each cell under a benchmark, of a benchmark.

The run of a training belongs to the training alone, which several benchmarks can share: nothing in
it depends on one of them. What a benchmark makes of its cells is in runs of the benchmark's group.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
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


@contextmanager
def training_mirror(cell: Cell, session: Session) -> Iterator[list[Logger]]:
    """Begin the run of a training, outside of the timed training, and end it.

    Yields:
        Lightning loggers of its curves; none without a run.
    """
    run = _begin_training(cell, session)
    if run is None:
        yield []
        return
    from capsbench.reporting.wandb.curves import Curves

    try:
        yield [Curves(run)]
    finally:
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
    contents = {_aggregate_id(results): ""}  # by the id of each run
    models, written = dict[str, Path | None](), dict[str, Path | None]()
    for result in results.cells:
        if result.failure is not None or not (result.training or result.weights):
            continue
        run_id, content = _identity(result, results)
        contents[run_id] = content
        if known.get(run_id) != content:
            written[run_id] = _write_cell(result, results, session)
        if session.execution.wandb_artifacts and result.training is not None:
            run_id = result.reference.fingerprint
            contents[run_id] = fingerprint(result.training.model_dump(mode="json"))
            if known.get(run_id) != contents[run_id]:
                models[run_id] = _write_models(result, destination)
    written[_aggregate_id(results)] = _write_aggregate(results, folder, session)
    # The run that makes an artifact arrives before those that use it.
    there = [_arrived(each, destination) for each in (models, written)]
    missing = (models | written).keys() - set().union(*there)
    runs = {run_id: content for run_id, content in contents.items() if run_id not in missing}
    # Without the page, the next run sends what is missing.
    mirrored = {"settings": here, "page": None if missing else page, "runs": runs}
    write_json(folder.mirrored, place | mirrored)


def _arrived(written: Mapping[str, Path | None], destination: Destination) -> set[str]:
    """Send the runs that are written, if they should be online; return the ids of what is there."""
    folders = {run_id: folder for run_id, folder in written.items() if folder is not None}
    if destination.mode == "offline":
        return set(folders)
    if destination.current_mode == "offline" or not folders:
        return set()
    from capsbench.reporting.wandb.sending import send

    sent = send(folders.values(), destination)
    return {run_id for run_id, folder in folders.items() if folder in sent}


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
        notes=_training_notes(cell.path.as_posix()),
        live=True,
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


def _aggregate_id(results: Results) -> str:
    record = results.record
    return fingerprint([record.benchmark.name, record.size, "aggregate"])


def _write_models(result: CellResult, destination: Destination) -> Path | None:
    """Continue the run of a training with its selected weights; return the folder if that succeeds.

    They are no part of the run that is sent while it trains, which would wait for their upload.
    """
    from capsbench.reporting.wandb.artifacts import model_artifact
    from capsbench.reporting.wandb.config import recorded_training_config
    from capsbench.reporting.wandb.run import begin

    reference = result.reference
    run = begin(
        destination,
        run_id=reference.fingerprint,
        name=f"{reference.model}, seed {result.seed}",
        group=Path(reference.path).parts[0],
        job_type="train",
        config=recorded_training_config(result),
        notes=_training_notes(reference.path),
    )
    if run is None:
        return None
    for checkpoint in sorted((result.folder.path / "checkpoints").glob("*")):
        make = partial(model_artifact, result.folder, checkpoint.name, reference.model)
        run.add_artifact(make, [checkpoint.name])
    return _finished(run)


def _write_cell(result: CellResult, results: Results, session: Session) -> Path | None:
    """Write the run of a measured cell; return its folder if all of it succeeds."""
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
        return None
    fill_evaluation(run, result)
    if session.execution.wandb_artifacts and result.training is not None:
        _use_models(run, result)
    return _finished(run)


def _write_aggregate(results: Results, folder: BenchmarkFolder, session: Session) -> Path | None:
    """Write the run of a benchmark; return its folder if all of it succeeds."""
    from capsbench.reporting.wandb.aggregate import fill_aggregate
    from capsbench.reporting.wandb.artifacts import records_artifact
    from capsbench.reporting.wandb.config import aggregate_config
    from capsbench.reporting.wandb.run import begin

    record = results.record
    run = begin(
        _destination(session),
        run_id=_aggregate_id(results),
        name=record.benchmark.name,
        group=record.benchmark.name,
        job_type="aggregate",
        config=aggregate_config(results),
        notes=_notes(record),
    )
    if run is None:
        return None
    fill_aggregate(run, results, folder.report)
    if session.execution.wandb_artifacts:
        run.add_artifact(partial(records_artifact, results, folder), [record.size])
    return _finished(run)


def _notes(record: BenchmarkRecord) -> str:
    return f"{record.benchmark.question.strip()} Reproduce: {record.command}"


def _training_notes(path: str) -> str:
    return f"Training {path} of the runs folder."


def _use_models(run: Run, result: CellResult) -> None:
    from capsbench.reporting.wandb.artifacts import model_artifact

    for rule in sorted({each.rule for each in result.measures.values()}):
        if result.folder.checkpoint(rule).is_dir():
            make = partial(model_artifact, result.folder, rule, result.reference.model)
            run.use_artifact(make, [rule])


def _finished(run: Run) -> Path | None:
    """End a run; return its folder if all of it succeeded."""
    complete = not run.failed
    run.finish()
    return run.folder if complete and not run.failed else None


def _destination(session: Session) -> Destination:
    destination = session.destination
    assert destination is not None
    return destination
