"""Progress of a run: how many cells are done, and the jobs that are running on any executor."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from itertools import islice
from typing import Self

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from capsbench.files.lease import read_lease
from capsbench.progress import NotebookOutput
from capsbench.records.running_job import RunningJob
from capsbench.reporting.formatting import counted, duration, rate
from capsbench.running.job_leases import lease_paths
from capsbench.running.jobs import CellJob, Job
from capsbench.running.session import Session

SECONDS = 0.5  # between two readings of the leases
DEVICE_SECONDS = 3.0  # after which a job that does not state its device never does
MAX_READ = 64  # jobs whose leases are read each time, beside those that are known to run
MAX_SHOWN = 8  # running jobs
BAR = 24  # characters
KNOWN_AFTER = 0.02  # share of the work after which the time left is an estimate, not a guess


class RunProgress:
    """Bars of a run in the terminal and in a notebook; in a log file, a line when a job begins.

    All of it comes from the leases of the jobs, so that it is the same for every executor. A thread
    draws it, because an executor can carry out jobs in this process. If the options say so, there
    are only lines in the terminal too, so that a debugger has it for itself.

    Args:
        session: The session.
        jobs: The jobs of the run.
        finished: Number of cells that were done before.
    """

    def __init__(self, session: Session, jobs: Sequence[Job], *, finished: int = 0) -> None:
        self._session = session
        self._pending = {job.id: job for job in jobs}
        self._cells = {job.cell.path for job in jobs if isinstance(job, CellJob)}
        self._count = len(self._cell_jobs())
        self._before = finished
        self._running: dict[str, list[RunningJob]] = {}  # by the identity of the job
        self._known = set[str]()  # tokens of leases that were announced
        self._next = 0  # place in the list of pending jobs whose leases are read next
        self._started: float | None = None  # when the first job ran: workers take time to start
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="progress", daemon=True)
        self._live: Live | None = None
        self._notebook: NotebookOutput | None = None

    def __enter__(self) -> Self:
        """Begin to draw."""
        console = self._session.console
        if not self._session.is_first:
            return self
        if console.is_jupyter:
            self._notebook = NotebookOutput()
        elif console.is_terminal and self._session.options.workers != 0:
            self._live = Live(self._view(), console=console, auto_refresh=False, transient=True)
            self._live.start(refresh=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the bars."""
        self._ended.set()
        if self._thread.is_alive():
            self._thread.join()
        if self._live is not None:
            self._live.stop()
        if self._notebook is not None:
            self._notebook.clear()

    def done(self, job: Job) -> None:
        """Count a job that has ended, with success or without.

        Args:
            job: The job.
        """
        with self._lock:
            self._pending.pop(job.id, None)
            self._running.pop(job.id, None)

    def update(self) -> None:
        """Read the leases and draw again; only the first process of a group does."""
        if not self._session.is_first:
            return
        with self._lock:
            self._read()
            if self._live is not None:
                self._live.update(self._view(), refresh=True)
            elif self._notebook is not None:
                self._notebook.show(self._view())
            else:
                self._announce()

    def _keep(self) -> None:
        while not self._ended.wait(SECONDS):
            self.update()

    def _read(self) -> None:
        """Find out which jobs are running; of many pending ones a part each time, in turn."""
        jobs = self._cell_jobs()
        ready = [job for job in jobs if self._pending.keys().isdisjoint(job.depends_on)]
        self._next %= max(len(ready), 1)
        turn = {job.id: job for job in islice([*ready, *ready], self._next, self._next + MAX_READ)}
        self._next += MAX_READ
        known = {job.id: job for job in ready if job.id in self._running}
        running = {each.id: self._leases(each) for each in (known | turn).values()}
        self._running = {name: jobs for name, jobs in running.items() if jobs}
        if self._running and self._started is None:
            self._started = time.monotonic()

    def _leases(self, job: CellJob) -> list[RunningJob]:
        """Return what the leases of a job state."""
        holders = map(read_lease, lease_paths(job, self._session))
        return [RunningJob.of(holder) for holder in holders if holder is not None]

    def _announce(self) -> None:
        """Print a line for each job that has begun since the last reading."""
        for job in self._in_order():
            is_new = job.device is None and time.time() - job.since < DEVICE_SECONDS
            if not is_new and job.token not in self._known:
                self._known.add(job.token)
                self._session.print(f"{job.task}: started on {job.place}")

    def _in_order(self) -> list[RunningJob]:
        """Return the running jobs, the oldest first, each once."""
        jobs = {each.token: each for leases in self._running.values() for each in leases}
        return sorted(jobs.values(), key=lambda job: job.since)

    def _view(self) -> RenderableType:
        """Return the bar of all cells, those of the running jobs, and a line on anything else."""
        jobs = self._in_order()
        table = Table.grid(padding=(0, 2))
        table.add_row(*self._overall())
        for job in jobs[:MAX_SHOWN]:
            table.add_row(*_row(job))
        more = len(jobs) - MAX_SHOWN
        line = f"and {counted(more, 'other job')}" if more > 0 else self._activity()
        return Group(table, *([Text(line, style="dim")] if line else []))

    def _overall(self) -> tuple[RenderableType, ...]:
        pending = self._cell_jobs()
        todo, unfinished = len(self._cells), {job.cell.path for job in pending}
        trainings = [self._running.get(job.id, []) for job in pending if job.kind == "train"]
        partly = sum(job.share for jobs in trainings for job in jobs)
        share = (self._count - len(pending) + partly) / self._count if self._count else 1.0
        elapsed = 0.0 if self._started is None else time.monotonic() - self._started
        left = elapsed * (1 - share) / share if share > KNOWN_AFTER else None
        total = todo + self._before
        return (
            Text(f"{total - len(unfinished)} of {counted(total, 'cell')}", style="bold"),
            ProgressBar(max(total, 1), self._before + share * todo, width=BAR),
            Text("" if not left else f"{duration(left)} left"),
        )

    def _cell_jobs(self) -> list[CellJob]:
        return [job for job in self._pending.values() if isinstance(job, CellJob)]

    def _activity(self) -> str:
        """Return what the run is doing while no job has a lease; empty if one has."""
        if self._running:
            return ""
        if jobs := self._cell_jobs():
            return "waiting for workers" if len(jobs) < self._count else "starting workers"
        return ", ".join(f"building the {job.title}" for job in self._pending.values())


def _row(job: RunningJob) -> tuple[RenderableType, ...]:
    """Return the columns of a running job."""
    speed, left = job.steps_per_second, job.seconds_left
    texts = (
        f"{job.step or 0:,} of {job.steps:,}" if job.steps else "",
        "" if speed is None else f"{rate(speed)} per second",
        "" if left is None else f"{duration(left)} left",
        job.note or "",
    )
    return (
        Text(f"{job.task} ({job.place})"),
        ProgressBar(job.steps, job.step or 0, width=BAR) if job.steps else Text(),
        Text("  ".join(filter(None, texts))),
    )
