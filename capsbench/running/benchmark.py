"""Running a benchmark: plan its jobs, carry them out, build the page."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from capsbench.data.training import require_shares
from capsbench.errors import UserError
from capsbench.files.atomic import is_present
from capsbench.files.locking import locked
from capsbench.names import without_folder
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    ProtocolChanges,
    Provenance,
    SearchRecord,
    load_cell,
    load_results,
)
from capsbench.reporting import report, terminal
from capsbench.running.carry_out import carry_out
from capsbench.running.cell import Cell
from capsbench.running.elsewhere import kept_cells
from capsbench.running.examples import require_images, write_examples
from capsbench.running.jobs import Job, plan_jobs
from capsbench.running.mirror import mirror_benchmark
from capsbench.running.next_step import next_step
from capsbench.running.session import Session
from capsbench.schema import Benchmark
from capsbench.training.devices import precision_note
from capsbench.training.profile import TABLE, TRACE
from capsbench.values import Quantity


def run_benchmark(
    benchmark: Benchmark,
    cells: Sequence[Cell],
    session: Session,
    *,
    changes: ProtocolChanges,
    command: str,
    search: SearchRecord | None = None,
) -> Path | None:
    """Carry out the jobs of a benchmark that are not done, and build its page.

    Args:
        benchmark: The protocol.
        cells: The requested cells of the protocol.
        session: The session; its device must be resolved.
        changes: Changes to the shipped protocol.
        command: The command, for the record.
        search: The search that chose the recipes, if there was one.

    Returns:
        The page; None in a process of a cluster that is not the first.

    Raises:
        UserError: A data file is missing, another process is training a cell, or the processes
            cannot share a batch equally.
    """
    require_shares(benchmark.recipe.batch_size, session.execution.processes)
    jobs = plan_jobs(cells, benchmark.name, session)
    record = None
    if session.is_first:
        _restore_configs(cells, session)
        record = _begin_record(benchmark, cells, session, changes, command, search)
        todo = {job.cell.path for job in jobs}
        for cell in cells:
            if cell.path not in todo:
                _print_cell(cell, session, note=" (already done)", trained=False)
    carry_out(jobs, session, on_done=lambda job: _print_progress(job, jobs, session))
    return None if record is None else _report(record, cells, session)


def _restore_configs(cells: Sequence[Cell], session: Session) -> None:
    """Write the config of each finished training that has lost it: the cell states all of it."""
    for cell in cells:
        folder = session.folder(cell)
        if is_present(folder.training) and not is_present(folder.config):
            cell.config.save(folder.config)


def _begin_record(
    benchmark: Benchmark,
    cells: Sequence[Cell],
    session: Session,
    changes: ProtocolChanges,
    command: str,
    search: SearchRecord | None,
) -> BenchmarkRecord:
    """Check the measures against the images, and write the record and the example images."""
    if note := precision_note(benchmark.recipe, session.execution.device):
        session.print(note)
    data = cells[0].build_data(session.data_root)  # all cells have the same test images
    require_images(benchmark.measures, data)
    folder = BenchmarkFolder(session.output / benchmark.name)
    record = BenchmarkRecord(
        benchmark=benchmark,
        changes=changes,
        command=command,
        cells=tuple(cell.reference for cell in cells),
        examples=write_examples(benchmark, data, folder),
        search=search,
        provenance=Provenance.now(),
    )
    return _save(record, cells, session, printed=True)


def _save(
    record: BenchmarkRecord, cells: Sequence[Cell], session: Session, *, printed: bool
) -> BenchmarkRecord:
    """Save the record, with the models that were trained elsewhere for the same data and views.

    Raises:
        UserError: One of them has the label of a cell.
    """
    folder = BenchmarkFolder(session.output / record.benchmark.name)
    with locked(folder.path):  # a model may join at the same time
        kept, others = kept_cells(session.output, record.benchmark, cells[0].config.data)
        labels = {cell.label for cell in cells}
        if same := [cell for cell in kept if cell.label in labels]:
            raise UserError(
                f"label '{same[0].label}' is that of a model that was trained elsewhere, on the "
                f"page in {folder.path}: remove {session.output / same[0].path}, or choose another "
                "--output"
            )
        trained = (cell.reference for cell in cells)
        record = record.model_copy(update={"cells": (*trained, *kept)})
        record.save(folder.record)
    if others and printed:
        session.print(
            f"no longer on the page: {', '.join(others)}, trained elsewhere, measured on other "
            "data or views; 'capsbench evaluate' measures on these"
        )
    return record


def _report(record: BenchmarkRecord, cells: Sequence[Cell], session: Session) -> Path:
    """Build the page, mirror the benchmark, and print its tables and the next step."""
    folder = BenchmarkFolder(session.output / record.benchmark.name)
    # Another run may have replaced it meanwhile, or a model joined.
    record = _save(record, cells, session, printed=False)
    page = report.build(folder.path)
    results = load_results(folder.path)
    mirror_benchmark(folder.path, results, session.execution.wandb)
    session.console.print(terminal.result_tables(results))
    session.console.print(terminal.page_line(page), soft_wrap=True)
    of_claims = record.changes.claims is not None  # they have a next step of their own
    if not of_claims and (step := next_step(results, session.output, session.data_root)):
        session.print(step)
    return page


def _print_progress(job: Job, jobs: Sequence[Job], session: Session) -> None:
    """Print the outcome of a cell after its measures, and the place of its profile."""
    if job.kind == "measure":
        trained = any(each.kind == "train" and each.cell.path == job.cell.path for each in jobs)
        _print_cell(job.cell, session, trained=trained)


def _print_cell(cell: Cell, session: Session, *, note: str = "", trained: bool) -> None:
    session.print(_cell_line(cell, session) + note)
    if session.execution.profile:
        session.print(_profile_line(cell, session, trained=trained))


def _cell_line(cell: Cell, session: Session) -> str:
    """Return the outcome of a cell in one line; accuracies of several measures are named."""
    result = load_cell(session.output, cell.reference)
    title = f"{cell.title}, seed {cell.seed}"
    if result.problem is not None or result.training is None:
        return f"{title}: {result.problem}"
    numbers = {
        without_folder(measure): [
            f"{split} {value:.3f}"
            for split in ("familiar", "novel")  # without values of single views or crops
            if (value := record.get(Quantity(metric="accuracy", split=split))) is not None
        ]
        for measure, record in result.measures.items()
    }
    texts = {measure: ", ".join(parts) for measure, parts in numbers.items() if parts}
    if len(texts) > 1:
        texts = {measure: f"{measure}: {text}" for measure, text in texts.items()}
    return "; ".join([f"{title}: trained in {result.training.seconds:.1f} s", *texts.values()])


def _profile_line(cell: Cell, session: Session, *, trained: bool) -> str:
    """Return the place of a cell's profile, and the way to open it."""
    folder = session.folder(cell).profile
    if not trained:
        return "  no profile: the cell was trained before; another --output trains it again"
    if not folder.is_dir():
        return "  no profile: the training ended before the steps to be profiled"
    trace, table = folder / TRACE, folder / TABLE
    return f"  profile: {table}; open {trace} in chrome://tracing or ui.perfetto.dev"
