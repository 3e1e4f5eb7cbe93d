"""A job in a group of processes of its own: the request, and the entry point of each process."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel
from rich.console import Console

from capsbench.errors import UserError
from capsbench.running.jobs import Job
from capsbench.running.run_job import run_job
from capsbench.running.session import Session, process_rank
from capsbench.training.execution import Execution
from capsbench.trusted_code import trusting_code


class JobRequest(BaseModel):
    """A job with its session, as a file of plain JSON."""

    job: Job
    output: Path
    data_root: Path | None
    execution: Execution


def run_in_process_group(job: Job, session: Session) -> None:
    """Carry out a job in a group of processes, which Lightning or the cluster starts.

    The group gets a separate parent process: Lightning's launcher starts the other processes by
    running their parent's command again, so that command must be this one job.

    Raises:
        UserError: The job failed; its own message is printed above.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "request.json")
        request = JobRequest(
            job=job,
            output=session.output.resolve(),
            data_root=session.data_root and session.data_root.resolve(),
            execution=session.execution,
        )
        path.write_text(request.model_dump_json(), encoding="utf-8")
        command = [sys.executable, "-m", "capsbench.running", str(path)]
        code = _run(command)
    if code:
        cell = job.cell
        raise UserError(f"the processes of {cell.title}, seed {cell.seed} ended with code {code}")


def _run(command: Sequence[str]) -> int:
    """Run a command until it ends; a signal that stops this process is passed on."""
    with subprocess.Popen(command) as process:
        try:
            return process.wait()
        except KeyboardInterrupt:
            process.terminate()  # its handler stops the others of the group
            process.wait()
            raise


def main(path: str) -> None:
    """Carry out the job of a request; every process of a group starts here."""
    with trusting_code():  # of names that the parent has checked
        request = JobRequest.model_validate_json(Path(path).read_bytes())
    execution = request.execution
    if process_rank() > 0:  # one process of the group logs
        execution = execution.model_copy(update={"wandb": "off"})
    session = Session(request.output, request.data_root, execution, Console(stderr=True))
    run_job(request.job, session)
