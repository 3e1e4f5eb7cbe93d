"""Record of the check of a machine with CUDA: one file with the results of every section."""

from __future__ import annotations

import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import Any, ClassVar, Literal

from pydantic import Field

from capsbench.records.provenance import PACKAGES, Provenance, current_commit
from capsbench.records.record import Record, RecordPart, Seconds

Status = Literal["done", "failed", "cut", "not measured"]


class PartResult(RecordPart):
    """Result of a part of a section.

    Attributes:
        name: Name, unique in the section.
        status: ``done``; ``failed``; ``cut``, if the time was over before its end; or ``not
            measured``, if this machine cannot do it.
        seconds: Duration.
        values: Results. Those of a failed part are what it had measured before.
        reason: Reason of a part that is not done, in one sentence.
        traceback: Traceback of a failure, or the last output of a process that ended.
    """

    name: str
    status: Status
    seconds: Seconds = 0.0
    values: dict[str, Any] = Field(default_factory=dict)
    reason: str | None = None
    traceback: str | None = None


class SectionResult(RecordPart):
    """Result of a section.

    Attributes:
        name: Name of the section.
        title: Description of its work.
        status: ``failed`` if a part failed, else ``cut`` if a part was cut, else ``done``; ``not
            measured`` if no part was measured.
        limit: Seconds that the section could take.
        seconds: Seconds that it took, with the start of its process.
        reason: Reason why the section has no complete result; None if it has.
        log: Last lines that its process printed, if it is not done.
        parts: Its parts, in the order in which they ended.
    """

    name: str
    title: str
    status: Status
    limit: Seconds
    seconds: Seconds
    reason: str | None = None
    log: str | None = None
    parts: tuple[PartResult, ...] = ()

    def values(self, part: str) -> dict[str, Any]:
        """Return the values of a part; empty if there is no such part."""
        return next((each.values for each in self.parts if each.name == part), {})


class GpuRecord(Record):
    """Results of ``make gpu``, stored as ``gpu.json``.

    Attributes:
        command: Command that made the record.
        provenance: Versions, commit and date of the start.
        device: ``cuda`` or ``cpu``; None if the first section could not say.
        device_names: Product name of each CUDA device; the processor's on a CPU.
        small: True if all sizes were small ones: the numbers say nothing about speed.
        seconds: Duration so far.
        limit: Seconds that the whole check could take.
        sections: Results of the sections so far.
    """

    remedy: ClassVar[str] = "run the check again: make gpu"

    command: str
    provenance: Provenance
    device: Literal["cpu", "cuda"] | None = None
    device_names: tuple[str, ...] = ()
    small: bool = False
    seconds: Seconds = 0.0
    limit: Seconds
    sections: tuple[SectionResult, ...] = ()

    @property
    def is_checksummed(self) -> bool:
        """True: every version has written a checksum."""
        return True

    @property
    def note(self) -> str | None:
        """Return a sentence if nothing ran on a GPU, else None."""
        if self.device == "cuda":
            return None
        where = "no device was recognized" if self.device is None else "all ran on the processor"
        return f"nothing ran on a GPU: {where}"


def provenance(commit: str | None) -> Provenance:
    """Return the provenance of the check; a package that is missing has no version.

    Args:
        commit: Commit of the code, for a copy without git; None to read it from the checkout.
    """
    return Provenance(
        versions={"python": platform.python_version()}
        | {name: _version(name) for name in (*PACKAGES, "triton")},
        commit=commit or current_commit(),
        date=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "not installed"
