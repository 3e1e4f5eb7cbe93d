"""Job request: a job with its session, as plain JSON, for any process on any machine."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict

from capsbench.executors.executor import Work
from capsbench.records import BenchmarkFolder, CellFolder
from capsbench.running.jobs import CellJob, Job
from capsbench.running.session import Session
from capsbench.training.execution import Execution


class JobRequest(BaseModel):
    """A job with what it needs of its session.

    Attributes:
        job: The job.
        output: Runs folder, an absolute path.
        data_root: Folder of local data files, an absolute path; None for the default.
        execution: Settings; the device is resolved.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    job: Job
    output: Path
    data_root: Path | None
    execution: Execution

    @classmethod
    def of(cls, job: Job, session: Session) -> Self:
        """Return the request of a job."""
        return cls(
            job=job,
            output=session.output.resolve(),
            data_root=session.data_root and session.data_root.resolve(),
            execution=session.execution,
        )

    def work(self, order: int) -> Work:
        """Return the request as executors see it.

        Args:
            order: Place among the jobs of the run.
        """
        job = self.job
        trains = job.kind == "train"
        threads = job.cell.config.threads if isinstance(job, CellJob) else None
        return Work(
            id=job.id,
            title=job.title,
            request=self.model_dump_json(),
            devices=self.execution.devices if trains else 1,
            nodes=self.execution.nodes if trains else 1,
            threads=threads or 1,
            order=order,
        )

    @property
    def log(self) -> Path:
        """File of the job's output."""
        if isinstance(self.job, CellJob):
            return CellFolder(self.output / self.job.cell.path).log
        return BenchmarkFolder(self.output / self.job.benchmark).log


class Outcome(BaseModel):
    """Outcome of a job, which its executor brings back.

    Attributes:
        status: ``done``; ``busy``, since another process has the cell; ``failed``, with a record in
            the cell; ``refused``, for bad input or a failure of the environment.
        reason: The reason in one sentence, unless it is done.
        notes: Lines for the user.
        traceback: Traceback of the failure of a job that has no record: the page.
        hopeless: True if every other job would be refused as well, such as for a full disk.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Literal["done", "busy", "failed", "refused"]
    reason: str = ""
    notes: tuple[str, ...] = ()
    traceback: str = ""
    hopeless: bool = False
