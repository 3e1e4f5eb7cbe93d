"""The function that carries out any job, in whatever process."""

from __future__ import annotations

from capsbench.running.jobs import Job
from capsbench.running.measure_job import measure_cell
from capsbench.running.mirror import mirror_measures
from capsbench.running.session import Session
from capsbench.running.train_job import train_cell


def run_job(job: Job, session: Session) -> None:
    """Carry out one job in this process; work that its records show to be done is not repeated.

    Args:
        job: The job.
        session: The session; its device must be resolved.
    """
    if job.kind == "train":
        train_cell(job.cell, job.benchmark, session)
    elif job.kind == "measure":
        measure_cell(job.cell, session)
    else:
        mirror_measures(job.cell, job.benchmark, session)
