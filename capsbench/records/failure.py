"""Record of a job that failed on a cell."""

from __future__ import annotations

import platform
from typing import Annotated, ClassVar, Literal

from pydantic import Field

from capsbench.environment.failure_kinds import Failure, FailureKind
from capsbench.records.folders import FileName
from capsbench.records.provenance import Provenance
from capsbench.records.record import Record

RETRY = "--retry failed"


class FailureRecord(Record):
    """Failure of a job on a cell, until the job succeeds or is tried again.

    Attributes:
        cell: Name of the cell's folder.
        job: Kind of the job.
        kind: Kind of the failure.
        reason: The reason in one sentence.
        traceback: Python's traceback; empty if the process was killed.
        log: File of the job's output in the cell's folder; None if it went to the terminal.
        attempts: Number of times that the job was tried.
        host: Name of the machine.
        provenance: Versions, commit and date.
    """

    remedy: ClassVar[str] = f"remove it, or run the benchmark again with {RETRY}"

    cell: str
    job: Literal["train", "measure"]
    kind: FailureKind
    reason: str
    traceback: str = ""
    log: FileName | None = None
    attempts: Annotated[int, Field(ge=1)] = 1
    host: str
    provenance: Provenance

    @property
    def is_checksummed(self) -> bool:
        """True: there are no failure records without a checksum."""
        return True

    @classmethod
    def now(
        cls,
        failure: Failure,
        *,
        cell: str,
        job: Literal["train", "measure"],
        log: str | None = None,
        attempts: int = 1,
        host: str | None = None,
    ) -> FailureRecord:
        """Return the record of a job that failed now.

        Args:
            failure: The cause.
            cell: Name of the cell's folder.
            job: Kind of the job.
            log: File of the job's output in that folder.
            attempts: Number of times that the job was tried.
            host: Name of the machine that carried it out; this one if left out.
        """
        return cls(
            cell=cell,
            job=job,
            **failure._asdict(),
            log=log,
            attempts=attempts,
            host=platform.node() if host is None else host,
            provenance=Provenance.now(),
        )

    @property
    def problem(self) -> str:
        """The failure in a few words, for tables."""
        return f"failed: {self.kind}"
