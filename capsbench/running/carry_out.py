"""The scheduler: dependencies, repetitions, and the outcome of each job, on any executor."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Sequence
from graphlib import TopologicalSorter
from heapq import heappop, heappush

from capsbench.environment.failure_kinds import killed
from capsbench.errors import UserError
from capsbench.executors.executor import Ended, Executor
from capsbench.executors.here import Here
from capsbench.executors.local import LocalPool
from capsbench.executors.room import Room
from capsbench.files.atomic import is_present
from capsbench.records.cell_files import load_failure
from capsbench.records.failure import FailureRecord
from capsbench.records.provenance import SHIPPED_COMMIT, current_commit
from capsbench.running.job_leases import is_held
from capsbench.running.job_request import JobRequest, Outcome
from capsbench.running.jobs import CellJob, Job, ReportJob
from capsbench.running.run_job import run_logged, run_request
from capsbench.running.run_progress import RunProgress
from capsbench.running.session import Session
from capsbench.running.worker_command import WORKER

TICK = 0.2  # seconds between two updates of the progress
BUSY = 1.0  # seconds until a job that another run had is tried again

OnDone = Callable[[Job, Outcome], None]


def carry_out(jobs: Sequence[Job], session: Session, on_done: OnDone, *, finished: int = 0) -> int:
    """Carry out jobs on the executor of the session; one that fails ends no other.

    A job whose process dies is repeated as often as the options say, and is recorded as failed
    then. A job that another run is working on comes later, when its records show that it is done.

    Args:
        jobs: The jobs, each listed after those that it depends on.
        session: The session; its device must be resolved.
        on_done: Called after each job that is done or has failed.
        finished: Number of cells without jobs, for the progress.

    Returns:
        The number of jobs that failed, or were left out since a job that they need failed.

    Raises:
        UserError: A job was refused, for bad input or a failure of the environment.
    """
    if not jobs:
        return 0
    return carry_out_on(make_executor(jobs, session), jobs, session, on_done, finished=finished)


def carry_out_on(
    executor: Executor,
    jobs: Sequence[Job],
    session: Session,
    on_done: OnDone,
    *,
    finished: int = 0,
) -> int:
    """Carry out jobs on an executor, which is started and stopped; see `carry_out`."""
    with RunProgress(session, jobs, finished=finished) as progress, executor:

        def ended(job: Job, outcome: Outcome) -> None:
            progress.done(job)
            on_done(job, outcome)

        schedule = _Schedule(jobs, session, executor, ended, progress.done)
        while schedule.goes_on:
            schedule.advance()
    if schedule.refusals:
        first, *others = schedule.refusals
        raise UserError(f"{first} (and {len(others)} more)" if others else first)
    return schedule.failures


def make_executor(jobs: Sequence[Job], session: Session) -> Executor:
    """Return the executor of the session.

    Pages alone are built in this process. So are all jobs if torchrun or srun has started it as one
    of a group, except for the trainings of the whole group.
    """
    options, device = session.options, session.execution.device
    only_pages = all(isinstance(job, ReportJob) for job in jobs)
    if options.workers == 0 or only_pages or session.is_one_of_group:
        return Here(run_request, WORKER)
    if options.name == "ray":
        from capsbench.executors.ray import RayCluster

        variables = {SHIPPED_COMMIT: current_commit() or ""}
        return RayCluster(run_logged, WORKER, options, device, session.output, variables)
    if options.name == "slurm":
        from capsbench.executors.slurm import SlurmArrays

        return SlurmArrays(WORKER, options, device, session.output)
    assert device != "auto"
    return LocalPool(session.template, Room.of_machine(device, options.per_device), options.workers)


class _Schedule:
    """The state of all jobs, and the next step; each job costs the same, however many there are.

    Args:
        jobs: The jobs.
        session: The session.
        executor: Carries them out.
        on_done: Called after each job that is done or has failed.
        on_left_out: Called for each job that is left out, since one that it needs failed.
    """

    def __init__(
        self,
        jobs: Sequence[Job],
        session: Session,
        executor: Executor,
        on_done: OnDone,
        on_left_out: Callable[[Job], None],
    ) -> None:
        self.refusals: list[str] = []  # sentences of refused jobs
        self._session = session
        self._executor = executor
        self._on_done = on_done
        self._on_left_out = on_left_out
        self._jobs = {job.id: job for job in jobs}
        self._order = {name: place for place, name in enumerate(self._jobs)}
        self._graph = TopologicalSorter({job.id: job.depends_on for job in jobs})
        self._graph.prepare()
        self._later: list[tuple[float, str]] = []  # a heap of jobs to try again, by time
        self._running = set[str]()
        self._deaths = Counter[str]()  # of processes, by job
        self._failed = set[str]()  # jobs that failed or were left out

    @property
    def goes_on(self) -> bool:
        """True until all jobs have ended."""
        return self._graph.is_active()

    @property
    def failures(self) -> int:
        """Number of jobs that failed or were left out."""
        return len(self._failed)

    def advance(self) -> None:
        """Submit the jobs that can start, and take in what has ended, after a short wait."""
        requests = [JobRequest.of(job, self._session) for job in self._take_ready()]
        self._running.update(each.job.id for each in requests)
        if requests:
            self._executor.submit([each.work(self._order[each.job.id]) for each in requests])
        if not self._running:  # all that is left waits for another run
            time.sleep(TICK)
        for ended in self._executor.ended(TICK):
            self._running.remove(ended.id)
            self._take_in(self._jobs[ended.id], ended)

    def _take_ready(self) -> list[Job]:
        """Return the jobs whose turn it is; pages are built of what there is."""
        ready: list[Job] = []
        while names := self._graph.get_ready():
            for job in map(self._jobs.__getitem__, names):
                if isinstance(job, CellJob) and not self._failed.isdisjoint(job.depends_on):
                    self._fail(job)
                    self._on_left_out(job)
                else:
                    ready.append(job)
        while self._later and self._later[0][0] <= time.monotonic():
            job = self._jobs[heappop(self._later)[1]]
            if is_held(job, self._session):  # a worker, or a job of SLURM, would only say so
                self._try_later(job)
            else:
                ready.append(job)
        return ready

    def _try_later(self, job: Job) -> None:
        heappush(self._later, (time.monotonic() + BUSY, job.id))

    def _fail(self, job: Job) -> None:
        self._failed.add(job.id)
        self._graph.done(job.id)

    def _take_in(self, job: Job, ended: Ended) -> None:
        outcome = (
            self._died(job, ended)
            if ended.answer is None
            else Outcome.model_validate_json(ended.answer)
        )
        if outcome is None or outcome.status == "busy":
            self._try_later(job)
            return
        if outcome.hopeless or (outcome.status != "done" and self._session.is_one_of_group):
            raise UserError(outcome.reason)  # processes of a group go on together or not at all
        if outcome.status == "done":
            self._graph.done(job.id)
        else:
            self._fail(job)
        if outcome.status == "refused":
            self.refusals.append(outcome.reason)
        self._on_done(job, outcome)

    def _died(self, job: Job, ended: Ended) -> Outcome | None:
        """Return the outcome of a job whose process died; None if it is tried again.

        A process of a group also ends without an answer when another one fails. That one states the
        failure, and waits for no other.
        """
        if self._session.is_one_of_group and isinstance(job, CellJob):
            folder = self._session.folder(job.cell)
            if is_present(folder.failure):
                return Outcome(status="failed", reason=load_failure(folder).reason)
        self._deaths[job.id] += 1
        if self._deaths[job.id] <= self._session.options.retries:
            return None
        failure = killed(ended.code, ended.reason)
        if isinstance(job, CellJob):
            folder = self._session.folder(job.cell)
            FailureRecord.now(
                failure,
                cell=job.cell.config.folder_name,
                job=job.kind,
                log=folder.log.name,
                attempts=self._deaths[job.id],
            ).save(folder.failure)
        return Outcome(status="failed", reason=failure.reason)
