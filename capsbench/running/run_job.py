"""The functions that carry out any job, in whatever process, on every executor."""

from __future__ import annotations

import io
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from capsbench.environment import failures
from capsbench.environment.failure_kinds import classify
from capsbench.environment.process_group import (
    ProcessGroup,
    is_first_process,
    is_lost_connection,
)
from capsbench.errors import UserError
from capsbench.files.lease import BusyError, LeaseLostError
from capsbench.records import CellFolder
from capsbench.records.failure import FailureRecord
from capsbench.running.job_request import JobRequest, Outcome
from capsbench.running.jobs import Job, ReportJob
from capsbench.running.measure_job import measure_cell
from capsbench.running.mirror import mirror_measures
from capsbench.running.report_job import build_report
from capsbench.running.session import Session
from capsbench.trusted_code import trusting_code


def run_logged(request: str) -> str:
    """Carry out a request in a process of its own; all output goes to the job's log."""
    parsed = JobRequest.model_validate_json(request)
    with _output_to(parsed.log, parsed.job.title):
        return _carry_out(parsed, parsed.log.name).model_dump_json()


def run_request(request: str) -> str:
    """Carry out a request in the process of the command."""
    return _carry_out(JobRequest.model_validate_json(request), None).model_dump_json()


def run_job(job: Job, session: Session) -> None:
    """Carry out a job; work that its records show to be done is not repeated.

    Args:
        job: The job.
        session: The session; its device must be resolved.

    Raises:
        BusyError: Another process has the cell.
        UserError: A file is missing or damaged.
    """
    if isinstance(job, ReportJob):
        build_report(job, session)
    elif job.kind == "train":
        from capsbench.running.train_job import train_cell  # imports Lightning

        train_cell(job.cell, job.benchmark, session)
    elif job.kind == "measure":
        measure_cell(job.cell, session, names=job.measures)
    else:
        mirror_measures(job.cell, job.benchmark, session)


def _carry_out(request: JobRequest, log: str | None) -> Outcome:
    """Carry out a request; a failure of the job is an outcome, and is recorded in the cell."""
    execution = request.execution
    if not is_first_process():  # one process of a group logs
        execution = execution.model_copy(update={"wandb": "off"})
    notes = io.StringIO()
    console = Console(file=notes, width=10_000)
    session = Session(request.output, request.data_root, execution, console)
    try:
        with trusting_code():  # of names that the command has checked
            run_job(request.job, session)
    except (BusyError, LeaseLostError) as busy:  # other processes go on with the cell
        return Outcome(status="busy", reason=str(busy))
    except UserError as error:
        return Outcome(status="refused", reason=str(error))
    except Exception as error:
        if ProcessGroup.current() is not None and is_lost_connection(error):
            raise  # the process that ended first has an answer, or has died
        return _failed(error, request, log)
    return Outcome(status="done", notes=tuple(notes.getvalue().splitlines()))


def _failed(error: Exception, request: JobRequest, log: str | None) -> Outcome:
    failure, job = classify(error), request.job
    sys.stderr.write(failure.traceback)
    if failure.kind == "user code" and (reason := failures.sentence(error)):
        return Outcome(status="refused", reason=reason, hopeless=True)
    if isinstance(job, ReportJob) or job.kind == "mirror":  # the cell is complete without it
        return Outcome(status="failed", reason=failure.reason, traceback=failure.traceback)
    folder = CellFolder(request.output / job.cell.path)
    record = FailureRecord.now(failure, cell=job.cell.config.folder_name, job=job.kind, log=log)
    record.save(folder.failure)
    return Outcome(status="failed", reason=failure.reason)


@contextmanager
def _output_to(log: Path, title: str) -> Iterator[None]:
    """Append what this process and its libraries print to a log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    sys.stderr.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("ab") as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
    now = datetime.now(UTC).isoformat(timespec="seconds")
    sys.stdout.write(f"--- {now} {title}, {platform.node()}, process {os.getpid()}\n")
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for descriptor, former in zip((1, 2), kept, strict=True):
            os.dup2(former, descriptor)
            os.close(former)
