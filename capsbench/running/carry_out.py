"""The scheduler: dependencies, repetitions, and the outcome of each job, on any executor."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field

from capsbench.environment.failure_kinds import killed
from capsbench.errors import UserError
from capsbench.executors.executor import Ended, Executor
from capsbench.executors.here import Here
from capsbench.executors.local import LocalPool
from capsbench.executors.room import Room
from capsbench.records.failure import FailureRecord
from capsbench.running.job_request import JobRequest, Outcome
from capsbench.running.jobs import CellJob, Job, ReportJob
from capsbench.running.run_job import run_logged, run_request
from capsbench.running.run_progress import RunProgress
from capsbench.running.session import Session

WORKER = (sys.executable, "-m", "capsbench.running")  # command of a worker process
TICK = 0.2  # seconds between two updates of the progress
BUSY = 1.0  # seconds until a job that another run had is tried again

OnDone = Callable[[Job, Outcome], None]


def carry_out(jobs: Sequence[Job], session: Session, on_done: OnDone) -> int:
    """Carry out jobs on the executor of the session; one that fails ends no other.

    A job whose process dies is repeated as often as the options say, and is recorded as failed
    then. A job that another run is working on comes later, when its records show that it is done.

    Args:
        jobs: The jobs, each listed after those that it depends on.
        session: The session; its device must be resolved.
        on_done: Called after each job that is done or has failed.

    Returns:
        The number of jobs that failed, or were left out since a job that they need failed.

    Raises:
        UserError: A job was refused, for bad input or a failure of the environment.
    """
    if not jobs:
        return 0
    with RunProgress(session, jobs) as progress, make_executor(jobs, session) as executor:

        def ended(job: Job, outcome: Outcome) -> None:
            progress.done(job)
            on_done(job, outcome)

        waiting = {job.id: job for job in jobs}
        schedule = _Schedule(executor, session, ended, progress.done, waiting)
        while schedule.goes_on:
            schedule.advance()
            progress.update()
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

        return RayCluster(run_logged, WORKER, options, device, session.output)
    if options.name == "slurm":
        from capsbench.executors.slurm import SlurmArrays

        return SlurmArrays(WORKER, options, device, session.output)
    assert device != "auto"
    return LocalPool(WORKER, Room.of_machine(device, options.per_device), options.workers)


@dataclass
class _Schedule:
    """The state of all jobs: waiting, running, done or failed.

    Attributes:
        executor: Carries them out.
        session: The session.
        on_done: Called after each job.
        on_left_out: Called for each job that is left out since another one failed.
        waiting: Jobs that are not submitted, by identity, in their order.
        running: Jobs that are submitted.
        succeeded: Identities of the jobs that are done.
        not_before: Time at which a job that was busy is tried again.
        deaths: Number of processes that died, by job.
        refusals: Sentences of refused jobs.
        failures: Number of jobs that failed or were left out.
        order: Place of each job in the run.
    """

    executor: Executor
    session: Session
    on_done: OnDone
    on_left_out: Callable[[Job], None]
    waiting: dict[str, Job]
    running: dict[str, Job] = field(default_factory=dict)
    succeeded: set[str] = field(default_factory=set)
    not_before: dict[str, float] = field(default_factory=dict)
    deaths: Counter[str] = field(default_factory=Counter)
    refusals: list[str] = field(default_factory=list)
    failures: int = 0
    order: dict[str, int] = field(init=False)

    def __post_init__(self) -> None:
        self.order = {each: place for place, each in enumerate(self.waiting)}

    @property
    def goes_on(self) -> bool:
        """True until all jobs have ended."""
        return bool(self.waiting or self.running)

    def advance(self) -> None:
        """Submit the jobs that can start, and take in what has ended, after a short wait."""
        now = time.monotonic()
        ready = [
            job
            for job in self.waiting.values()
            if self._is_ready(job) and now >= self.not_before.get(job.id, now)
        ]
        for job in ready:
            self.running[job.id] = self.waiting.pop(job.id)
        requests = [JobRequest.of(job, self.session) for job in ready]
        self.executor.submit([each.work(self.order[each.job.id]) for each in requests])
        if not self.running:  # all that is left waits for another run
            time.sleep(TICK)
        for ended in self.executor.ended(TICK):
            self._take_in(self.running.pop(ended.id), ended)

    def _is_ready(self, job: Job) -> bool:
        if isinstance(job, ReportJob):
            return not any(each in self.waiting or each in self.running for each in job.depends_on)
        return self.succeeded.issuperset(job.depends_on)

    def _take_in(self, job: Job, ended: Ended) -> None:
        outcome = self._died(job, ended) if ended.answer is None else _parse(ended.answer)
        if outcome is None or outcome.status == "busy":
            self.waiting[job.id] = job
            self.not_before[job.id] = time.monotonic() + BUSY
            return
        if outcome.hopeless or (outcome.status != "done" and self.session.is_one_of_group):
            raise UserError(outcome.reason)  # processes of a group go on together or not at all
        if outcome.status == "done":
            self.succeeded.add(job.id)
        else:
            if outcome.status == "refused":
                self.refusals.append(outcome.reason)
            self.failures += 1
            self._leave_out([job.id])
        self.on_done(job, outcome)

    def _died(self, job: Job, ended: Ended) -> Outcome | None:
        """Return the outcome of a job whose process died; None if it is tried again."""
        self.deaths[job.id] += 1
        if self.deaths[job.id] <= self.session.options.retries:
            return None
        failure = killed(ended.code, ended.reason)
        if isinstance(job, CellJob) and job.kind != "mirror":
            folder = self.session.folder(job.cell)
            FailureRecord.now(
                failure,
                cell=job.cell.config.folder_name,
                job=job.kind,
                log=folder.log.name,
                attempts=self.deaths[job.id],
            ).save(folder.failure)
        return Outcome(status="failed", reason=failure.reason)

    def _leave_out(self, failed: Collection[str]) -> None:
        """Leave out the jobs that need a failed one; pages are built of what there is."""
        left_out = [
            job.id
            for job in self.waiting.values()
            if isinstance(job, CellJob) and set(failed) & set(job.depends_on)
        ]
        for each in left_out:
            self.on_left_out(self.waiting.pop(each))
            self.failures += 1
        if left_out:
            self._leave_out(left_out)


def _parse(answer: str) -> Outcome:
    return Outcome.model_validate_json(answer)
