"""Carrying out jobs: the one place that decides where and when each job runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from capsbench.running.jobs import Job
from capsbench.running.measure_job import measure_cell
from capsbench.running.mirror import mirror_measures
from capsbench.running.session import Session
from capsbench.running.train_job import train_cell, train_in_processes


def run_job(job: Job, session: Session) -> None:
    """Carry out one job; what its records show to be done is not done again."""
    if job.kind == "train" and session.execution.processes > 1:
        train_in_processes(job.cell, job.benchmark, session)
    elif job.kind == "train":
        train_cell(job.cell, job.benchmark, session)
    elif job.kind == "measure":
        measure_cell(job.cell, session)
    else:
        mirror_measures(job.cell, job.benchmark, session)


def carry_out(
    jobs: Sequence[Job], session: Session, on_done: Callable[[Job], None] = lambda _: None
) -> None:
    """Carry out jobs one after the other, in an order that keeps their dependencies.

    A process of a cluster that is not the first carries out trainings alone.

    Args:
        jobs: The jobs, each listed after those that it depends on.
        session: The session.
        on_done: Called after each job.
    """
    for job in jobs:
        if session.is_first or job.kind == "train":
            run_job(job, session)
            on_done(job)
