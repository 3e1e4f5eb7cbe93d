"""Running a benchmark: plan its jobs, carry them out, build the page."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from capsbench.data.training import require_shares
from capsbench.files.atomic import is_present, remove
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    ProtocolChanges,
    Provenance,
    Results,
    SearchRecord,
    load_results,
)
from capsbench.reporting import terminal
from capsbench.running.carry_out import carry_out
from capsbench.running.cell import Cell
from capsbench.running.cell_state import cell_state
from capsbench.running.examples import recorded_examples, require_images, write_examples
from capsbench.running.job_request import Outcome
from capsbench.running.jobs import Job, ReportJob, plan_jobs
from capsbench.running.leftovers import clear_benchmark, clear_cell
from capsbench.running.mirror import mirror_failure
from capsbench.running.next_step import next_step
from capsbench.running.outcome_lines import print_cell, print_failure
from capsbench.running.report_job import save_record
from capsbench.running.session import Session
from capsbench.schema import Benchmark
from capsbench.training.devices import precision_note, threads_note


class RunOutcome(NamedTuple):
    """Outcome of a run.

    Attributes:
        page: The page; None in a process of a cluster that is not the first.
        failed: True if a cell has failed, in this run or before, or another job of this run.
    """

    page: Path | None
    failed: bool


@dataclass(frozen=True)
class PreparedRun:
    """A benchmark that is ready to be carried out.

    Attributes:
        benchmark: The protocol.
        cells: Its cells.
        jobs: The jobs that are not done.
        session: The session.
    """

    benchmark: Benchmark
    cells: Sequence[Cell]
    jobs: Sequence[Job]
    session: Session

    @property
    def page(self) -> Path:
        """The page; it is missing if building it failed."""
        return BenchmarkFolder(self.session.output / self.benchmark.name).report / "index.html"


def run_benchmark(
    benchmark: Benchmark,
    cells: Sequence[Cell],
    session: Session,
    *,
    changes: ProtocolChanges,
    command: str,
    search: SearchRecord | None = None,
) -> RunOutcome:
    """Carry out the jobs of a benchmark that are not done, and build its page.

    Args:
        benchmark: The protocol.
        cells: The requested cells of the protocol.
        session: The session; its device must be resolved.
        changes: Changes to the shipped protocol.
        command: The command, for the record.
        search: The search that chose the recipes, if there was one.

    Raises:
        UserError: A data file is missing, or the processes cannot share a batch equally.
    """
    run = prepare_run(benchmark, cells, session, changes=changes, command=command, search=search)
    failed = carry_out_runs([run])
    results = finish_run(run)
    if results is None:
        return RunOutcome(None, failed)
    if step := next_step(results, session.output, session.data_root):
        session.print(step)
    return RunOutcome(run.page, failed)


def prepare_run(
    benchmark: Benchmark,
    cells: Sequence[Cell],
    session: Session,
    *,
    changes: ProtocolChanges,
    command: str,
    search: SearchRecord | None = None,
) -> PreparedRun:
    """Write the record of a benchmark, and list its jobs; the last one builds the page.

    See `run_benchmark`. In a process of a cluster that is not the first, nothing is written.
    """
    require_shares(benchmark.recipe.batch_size, session.execution.processes)
    if session.retry_failed and session.is_first:
        for cell in cells:
            remove(session.folder(cell).failure)
    jobs = plan_jobs(cells, benchmark.name, session)
    if not session.is_first:
        return PreparedRun(benchmark, cells, jobs, session)
    clear_benchmark(BenchmarkFolder(session.output / benchmark.name))
    for cell in cells:
        clear_cell(session.folder(cell))
    _restore_configs(cells, session)
    device = session.execution.device
    notes = precision_note(benchmark.recipe, device), threads_note(benchmark.threads, device)
    for note in filter(None, notes):
        session.print(note)
    folder = BenchmarkFolder(session.output / benchmark.name)
    examples = None if jobs else recorded_examples(folder, cells[0])
    if examples is None:
        data = cells[0].build_data(session.data_root)  # all cells have the same test images
        require_images(benchmark.measures, data)
        examples = write_examples(benchmark, data, folder)
    record = BenchmarkRecord(
        benchmark=benchmark,
        changes=changes,
        command=command,
        cells=tuple(cell.reference for cell in cells),
        examples=examples,
        search=search,
        provenance=Provenance.now(),
    )
    if others := save_record(record, cells[0].config.data, session):
        session.print(
            f"no longer on the page: {', '.join(others)}, trained elsewhere, measured on other "
            "data or views; 'capsbench evaluate' measures on these"
        )
    todo = {job.cell.path for job in jobs}
    for cell in cells:
        if cell.path not in todo:
            print_cell(cell, session, note=" (already done)", trained=False)
    page = ReportJob(
        benchmark=benchmark.name,
        record=record,
        data=cells[0].config.data,
        depends_on=tuple(job.id for job in jobs),
    )
    return PreparedRun(benchmark, cells, [*jobs, page], session)


def carry_out_runs(runs: Sequence[PreparedRun]) -> bool:
    """Carry out the jobs of several benchmarks together; one that they share only once.

    Returns:
        True if a job has failed, or a cell before.
    """
    session = runs[0].session
    jobs: dict[str, Job] = {}
    for job in (job for run in runs for job in run.jobs):
        jobs.setdefault(job.id, job)
    trained = {job.cell.path for job in jobs.values() if job.kind == "train"}

    printed: set[Path] = set()

    def on_done(job: Job, outcome: Outcome) -> None:
        if not session.is_first:
            return
        for note in outcome.notes:
            session.print(note)
        if outcome.status != "done":
            print_failure(job, outcome, session)
        elif (
            job.kind == "measure"
            and job.cell.path not in printed  # it can have a job for each measure
            and cell_state(job.cell, session) == "done"
        ):
            printed.add(job.cell.path)
            print_cell(job.cell, session, trained=job.cell.path in trained)

    cells = {cell.path for run in runs for cell in run.cells}
    finished = len(cells - {job.cell.path for job in jobs.values() if job.kind != "report"})
    failures = carry_out(list(jobs.values()), session, on_done, finished=finished)
    if session.is_first and (line := mirror_failure(session)):
        session.print(line)
    return failures > 0 or _has_failed_cell(runs)


def finish_run(run: PreparedRun) -> Results | None:
    """Print the tables of a benchmark and its page.

    Returns:
        The results; None in a process of a cluster that is not the first.
    """
    session = run.session
    if not session.is_first:
        return None
    results = load_results(session.output / run.benchmark.name)
    session.console.print(terminal.result_tables(results))
    if is_present(run.page):
        session.console.print(terminal.page_line(run.page), soft_wrap=True)
    return results


def _has_failed_cell(runs: Sequence[PreparedRun]) -> bool:
    return any(
        is_present(run.session.folder(cell).failure) and cell_state(cell, run.session) == "failed"
        for run in runs
        for cell in run.cells
    )


def _restore_configs(cells: Sequence[Cell], session: Session) -> None:
    """Write the config of each finished training that has lost it: the cell states all of it."""
    for cell in cells:
        folder = session.folder(cell)
        if is_present(folder.training) and not is_present(folder.config):
            cell.config.save(folder.config)
