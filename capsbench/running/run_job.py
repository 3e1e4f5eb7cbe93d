"""The functions that carry out any job, in whatever process, on every executor."""

from __future__ import annotations

import gc
import io
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from capsbench.environment import failures, streams
from capsbench.environment.failure_kinds import classify
from capsbench.environment.process_group import (
    ProcessGroup,
    is_failure_of_another,
    is_first_process,
)
from capsbench.environment.signals import pending_stop, raise_pending_stop
from capsbench.errors import UserError
from capsbench.files.lease import BusyError, LeaseLostError
from capsbench.records import CellFolder
from capsbench.records.failure import FailureRecord
from capsbench.running.job_request import JobRequest, Outcome
from capsbench.running.jobs import Job, ReportJob
from capsbench.running.measure_job import measure_cell
from capsbench.running.report_job import build_report
from capsbench.running.session import Session
from capsbench.trusted_code import trusting_code


def run_logged(request: str) -> str:
    """Carry out a request in a process of its own; all output goes to the job's log."""
    parsed = _read(request)
    try:
        with _output_to(parsed.log, parsed.job.title):
            outcome = _carry_out(parsed, parsed.log.name)
    except OSError as error:  # the log cannot be written
        reason = failures.sentence(error)
        raise_pending_stop()
        if reason is None:
            raise
        outcome = Outcome(status="refused", reason=reason, hopeless=True)
    _free_device_memory()
    return outcome.model_dump_json()


def run_request(request: str) -> str:
    """Carry out a request in the process of the command."""
    return _carry_out(_read(request), None).model_dump_json()


def _read(request: str) -> JobRequest:
    """Read a request; its measures can be code of the user, which the command has checked."""
    with trusting_code():
        return JobRequest.model_validate_json(request)


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

        train_cell(job.cell, session)
    else:
        measure_cell(job.cell, session, names=job.measures)


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
    except (Exception, SystemExit) as error:  # code of a user may exit, even with code 0
        if pending_stop():  # the signal is the cause, whatever libraries make of it
            if log is not None:
                streams.print_error(classify(error).traceback)
            raise KeyboardInterrupt from error
        if ProcessGroup.current() is not None and is_failure_of_another(error):
            streams.print_error(classify(error).traceback)  # in the log
            raise SystemExit(1) from None  # the process that failed has an answer, or has died
        return _failed(error, request, log)
    return Outcome(status="done", notes=tuple(notes.getvalue().splitlines()))


def _failed(error: Exception | SystemExit, request: JobRequest, log: str | None) -> Outcome:
    failure, job = classify(error), request.job
    if log is not None or not failures.sentence(error):  # one sentence is enough in a terminal
        streams.print_error(failure.traceback)
    if failure.kind == "user code" and (reason := failures.sentence(error)):
        hopeless = not failures.is_of_one_place(error)
        return Outcome(status="refused", reason=reason, hopeless=hopeless)
    if isinstance(job, ReportJob):  # every cell is complete without it
        return Outcome(status="failed", reason=failure.reason, traceback=failure.traceback)
    folder = CellFolder(request.output / job.cell.path)
    record = FailureRecord.now(failure, cell=job.cell.config.folder_name, job=job.kind, log=log)
    record.save(folder.failure)
    return Outcome(status="failed", reason=failure.reason)


def _free_device_memory() -> None:
    """Give the memory that torch keeps for this process to the other works of the device."""
    import torch

    if torch.cuda.is_initialized():
        gc.collect()  # a trainer and its model refer to each other
        torch.cuda.empty_cache()


@contextmanager
def _output_to(log: Path, title: str) -> Iterator[None]:
    """Append what this process and its libraries print to a log.

    Code of the job has streams of its own, which it may close or replace.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    streams.flush()
    kept = os.dup(1), os.dup(2)
    with log.open("a", encoding="utf-8", errors="backslashreplace", buffering=1) as stream:
        for descriptor in (1, 2):
            os.dup2(stream.fileno(), descriptor)
        try:
            with redirect_stdout(stream), redirect_stderr(stream):
                now = datetime.now(UTC).isoformat(timespec="seconds")
                stream.write(f"--- {now} {title}, {platform.node()}, process {os.getpid()}\n")
                yield
        finally:
            streams.flush()  # of the former streams, which libraries keep
            for descriptor, former in zip((1, 2), kept, strict=True):
                os.dup2(former, descriptor)
                os.close(former)
