"""Carrying out jobs: the one place that decides when and in which process each job runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from capsbench.running.jobs import Job
from capsbench.running.process_group import run_in_process_group
from capsbench.running.run_job import run_job
from capsbench.running.session import Session


def carry_out(
    jobs: Sequence[Job], session: Session, on_done: Callable[[Job], None] = lambda _: None
) -> None:
    """Carry out jobs one after the other, in an order that keeps their dependencies.

    A training on several devices gets a group of processes of its own. A process of a cluster that
    is not the first one carries out trainings alone.

    Args:
        jobs: The jobs, each listed after those that it depends on.
        session: The session; its device must be resolved.
        on_done: Called after each job.
    """
    for job in jobs:
        if job.kind == "train" and session.execution.processes > 1:
            run_in_process_group(job, session)
        elif session.is_first:
            run_job(job, session)
        else:
            continue
        on_done(job)
