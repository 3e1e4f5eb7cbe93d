"""Leases of a job: the files that say which process is working on it."""

from __future__ import annotations

from pathlib import Path

from capsbench.files.lease import read_lease
from capsbench.running.jobs import CellJob, Job
from capsbench.running.measure_job import missing_measures
from capsbench.running.session import Session


def lease_paths(job: CellJob, session: Session) -> list[Path]:
    """Return the lease of a training, or that of each measure."""
    folder = session.folder(job.cell)
    if job.kind == "train":
        return [folder.lease]
    return [folder.measure_lease(name) for name in job.measures or job.cell.measures]


def is_held(job: Job, session: Session) -> bool:
    """Check that other processes have all that is left of a job, which can only wait for them.

    Raises:
        UserError: A record or a lease is damaged.
    """
    if isinstance(job, CellJob) and job.kind == "measure":
        names = job.measures or tuple(job.cell.measures)
        missing = missing_measures(job.cell, session.folder(job.cell))
        left = tuple(name for name in names if name in missing)
        job = job.model_copy(update={"measures": left})
        if not left:
            return False
    paths = lease_paths(job, session) if isinstance(job, CellJob) else []
    return bool(paths) and all(read_lease(path) is not None for path in paths)
