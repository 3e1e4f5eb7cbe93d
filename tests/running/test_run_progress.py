"""Progress of a run, from the leases of its jobs: on a terminal, in a log and in a notebook."""

import io
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from capsbench import progress as notebook
from capsbench.executors.options import ExecutorOptions
from capsbench.running import run_progress as module
from capsbench.running.jobs import ReportJob, plan_jobs
from capsbench.running.plan import plan
from capsbench.running.run_progress import RunProgress
from capsbench.running.session import Session
from tests.records.runs_folder import PROGRESS, hold


@pytest.fixture
def jobs(tiny_benchmark, session):
    """Train and measure two seeds."""
    return plan_jobs(plan(tiny_benchmark), "tiny", session)


@pytest.fixture
def page():
    """The job of the page, without its record."""
    missing: Any = None
    return ReportJob.model_construct(benchmark="tiny", record=missing, data=missing)


@pytest.fixture
def still(monkeypatch):
    """Let nothing be drawn but by calls of ``update``."""
    monkeypatch.setattr(module, "SECONDS", 1000)


def console(**options):
    return Console(file=io.StringIO(), width=160, **options)


def text_of(session, jobs, **options):
    """Return what a terminal shows, as text."""
    progress = RunProgress(session, jobs, **options)
    progress.update()
    shown = console()
    shown.print(progress._view())
    return shown.file.getvalue()


def begin(session, job, **progress):
    hold(session.folder(job.cell).lease, job.title, **progress)


def test_nothing_runs_yet(session, jobs):
    shown = text_of(session, jobs)
    assert "0 of 2 cells" in shown
    assert "starting workers" in shown


def test_a_running_training_has_a_bar_of_its_own(session, jobs):
    begin(session, jobs[0], **PROGRESS)
    shown = text_of(session, jobs)
    for text in ("train Tiny, seed 0", "cuda:1", "150 of 300", "12.5 per second", "12.0 s left"):
        assert text in shown
    assert "accuracy 0.912" in shown
    assert "workers" not in shown


def test_a_measure_that_runs_is_shown(session, jobs):
    (name,) = jobs[1].cell.measures
    hold(session.folder(jobs[1].cell).measure_lease(name), "measure Tiny", step=1, steps=4)
    shown = text_of(session, jobs[1:])
    assert "measure Tiny" in shown
    assert "1 of 4" in shown


def test_a_cell_is_done_after_its_last_job(session, jobs):
    progress = RunProgress(session, jobs, finished=34)
    for job, expected in zip(jobs, ("34", "35", "35", "36"), strict=True):
        progress.done(job)
        shown = console()
        shown.print(progress._view())
        assert f"{expected} of 36 cells" in shown.file.getvalue()


def test_the_time_left_follows_from_the_share_that_is_done(session, jobs, monkeypatch):
    progress = RunProgress(session, jobs)
    begin(session, jobs[0], step=1, steps=2)  # an eighth of four jobs
    progress.update()
    now = time.monotonic() + 30
    monkeypatch.setattr("capsbench.running.run_progress.time.monotonic", lambda: now)
    progress.update()
    shown = console()
    shown.print(progress._view())
    assert "3 min 30 s left" in shown.file.getvalue().splitlines()[0]


def test_the_page_comes_last(session, jobs, page):
    progress = RunProgress(session, [*jobs, page])
    for job in jobs:
        progress.done(job)
    shown = console()
    shown.print(progress._view())
    assert "building the page of tiny" in shown.file.getvalue()


def test_a_log_file_has_a_line_when_a_job_begins(session, jobs, still):
    log = console()
    with RunProgress(replace(session, console=log), jobs) as progress:
        progress.update()
        assert log.file.getvalue() == ""
        begin(session, jobs[0], **PROGRESS)
        progress.update()
        progress.update()
        begin(session, jobs[2], device="cpu")
        (session.folder(jobs[2].cell).lease).write_text(
            session.folder(jobs[2].cell).lease.read_text("utf-8").replace("ab-01", "ab-02"), "utf-8"
        )
        progress.update()
    first, second = log.file.getvalue().splitlines()
    assert "train Tiny, seed 0" in first
    assert "cuda:1" in first
    assert "train Tiny, seed 1" in second


def test_a_line_waits_for_the_name_of_the_device(session, jobs, still, monkeypatch):
    """A lease that was just taken does not state it yet."""
    log = console()
    with RunProgress(replace(session, console=log), jobs) as progress:
        begin(session, jobs[0])
        monkeypatch.setattr(module, "DEVICE_SECONDS", 1000)
        progress.update()
        assert log.file.getvalue() == ""
        monkeypatch.setattr(module, "DEVICE_SECONDS", 1)
        progress.update()
    assert "started" in log.file.getvalue()


def test_a_terminal_is_drawn_without_calls(session, jobs, monkeypatch):
    """An executor can carry out jobs in this process, which makes no calls meanwhile."""
    monkeypatch.setattr(module, "SECONDS", 0.01)
    terminal = console(force_terminal=True)
    workers = replace(session, console=terminal, options=ExecutorOptions())
    with RunProgress(workers, jobs):
        begin(session, jobs[0], **PROGRESS)
        deadline = time.monotonic() + 5
        while "150 of 300" not in terminal.file.getvalue() and time.monotonic() < deadline:
            time.sleep(0.01)
        terminal.print("a line of its own")
    assert "150 of 300" in terminal.file.getvalue()
    assert "a line of its own\n" in terminal.file.getvalue()


def test_a_debugger_in_this_process_has_the_terminal(session, jobs, still):
    terminal = console(force_terminal=True)
    here = replace(session, console=terminal, options=ExecutorOptions(workers=0))
    with RunProgress(here, jobs) as progress:
        begin(session, jobs[0], **PROGRESS)
        progress.update()
    (line,) = terminal.file.getvalue().splitlines()
    assert "train Tiny, seed 0: started" in line
    assert "\x1b" not in line


def test_a_notebook_shows_text(session, jobs, still, monkeypatch):
    monkeypatch.setattr(notebook, "NOTEBOOK_SECONDS", 0)
    shown = []
    monkeypatch.setattr(notebook.NotebookOutput, "show", lambda _, view: shown.append(view))
    this = replace(session, console=console(force_jupyter=True))
    with RunProgress(this, jobs) as progress:
        progress.update()
    text = console()
    text.print(shown[-1])
    assert "0 of 2 cells" in text.file.getvalue()


def test_many_jobs_are_read_in_turn(session, jobs, monkeypatch):
    """The number of files that are read at a time does not grow with the run."""
    many = [
        job.model_copy(update={"depends_on": (), "cell": _other(job.cell, i)})
        for i in range(500)
        for job in jobs[:1]
    ]
    read: list[Path] = []
    monkeypatch.setattr(module, "read_lease", read.append)
    progress = RunProgress(session, many)
    progress.update()
    assert len(read) == module.MAX_READ
    for _ in range(10):
        progress.update()
    assert len({path.parent for path in read}) == 500


def _other(cell, seed):
    return cell.model_copy(update={"path": cell.path.with_name(f"{seed}-0123456789ab")})


def test_other_processes_of_a_group_print_nothing(session, jobs, still, monkeypatch):
    begin(session, jobs[0], **PROGRESS)
    monkeypatch.setattr(Session, "is_first", False)
    log = console()
    with RunProgress(replace(session, console=log), jobs) as progress:
        progress.update()
    assert log.file.getvalue() == ""
