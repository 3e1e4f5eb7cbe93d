"""Supervision of the check: sections as processes with a time limit each, and their record.

This process imports no torch, so that nothing that a device or a kernel does can end it.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Literal, NamedTuple

from capsbench.speed.gpu.lines import append_line, read_parts
from capsbench.speed.gpu.record import GpuRecord, PartResult, SectionResult, Status, provenance
from capsbench.speed.gpu.section import SectionRequest
from capsbench.speed.gpu.sections import Section

RESERVE = 3.0  # seconds from the last start of a part to the end of the process
TAIL = 4000  # characters of a log that are kept
Choice = Literal["auto", "cpu", "cuda"]


def check_machine(
    path: Path,
    *,
    command: str,
    sections: Sequence[Section],
    device: Choice,
    small: bool,
    limit: float,
    commit: str | None,
    report: Callable[[str], None],
) -> GpuRecord:
    """Run sections one after the other; the record is saved after each.

    Args:
        path: File of the record.
        command: Command that makes it.
        sections: The sections, in order; ``machine`` chooses the device of the others.
        device: ``auto`` for CUDA if it works here, else the processor.
        small: Small sizes also with CUDA; a processor always has them.
        limit: Seconds for all sections together.
        commit: Commit of the code, if this is a copy without git.
        report: Prints a line.

    Returns:
        The record.
    """
    start = time.monotonic()
    record = GpuRecord(
        command=command,
        provenance=provenance(commit),
        device=None if device == "auto" else device,
        small=small or device == "cpu",
        limit=limit,
    )
    for number, section in enumerate(sections):
        left = limit - (time.monotonic() - start)
        seconds = max(1.0, _share(sections[number:]) * left)
        report(f"{section.name}: {section.title} (at most {seconds:.0f} s)")
        first = section.name == "machine"
        chosen = record.device or ("auto" if first else "cpu")
        result = run_section(section, device=chosen, small=record.small, seconds=seconds)
        if first:
            record = _with_device(record, result)
        duration = round(time.monotonic() - start, 1)
        results = (*record.sections, result)
        record = record.model_copy(update={"sections": results, "seconds": duration})
        record.save(path)
        for line in summary(result):
            report(line)
    return record


def _share(sections: Sequence[Section]) -> float:
    """Return the share of the first of these sections in the time that is left for all."""
    return sections[0].seconds / sum(section.seconds for section in sections)


def _with_device(record: GpuRecord, machine: SectionResult) -> GpuRecord:
    """Enter what the first section says about the device; nothing, if it failed."""
    values = machine.values("device")
    device = values.get("device", record.device)
    return record.model_copy(
        update={
            "device": device,
            "device_names": tuple(values.get("names", ())),
            "small": record.small or device != "cuda",
        }
    )


class _Ending(NamedTuple):
    """End of a process that did not reach the end of its section."""

    reason: str
    timed_out: bool = False


def run_section(section: Section, *, device: Choice, small: bool, seconds: float) -> SectionResult:
    """Run a section in a process of its own, and again after a part that ended it.

    Args:
        section: The section.
        device: See `SectionRequest`.
        small: Use small sizes.
        seconds: Time after which the process is killed.
    """
    start = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="capsbench-gpu-") as folder:
        file, log = Path(folder, "parts.jsonl"), Path(folder, "log.txt")
        count = -1
        ending: _Ending | None = None
        while True:
            left = seconds - (time.monotonic() - start)
            request = SectionRequest(
                module=section.module,
                file=file,
                device=device,
                small=small,
                seconds=max(0, left - RESERVE),
            )
            ending = _run_process(request, log, max(1.0, left))
            _finish_parts(file, ending, log)
            parts = read_parts(file)[0]
            if ending is None or ending.timed_out or len(parts) <= max(count, 0):
                break
            count = len(parts)
        tail = _tail(log)
    status, reason = _judge(parts, ending)
    return SectionResult(
        name=section.name,
        title=section.title,
        status=status,
        limit=round(seconds, 1),
        seconds=round(time.monotonic() - start, 1),
        reason=reason,
        log=None if status in ("done", "not measured") else tail,
        parts=tuple(parts),
    )


def _run_process(request: SectionRequest, log: Path, seconds: float) -> _Ending | None:
    """Run the process of a section until it ends, at most for some seconds."""
    command = [sys.executable, "-m", "capsbench.speed.gpu.section", request.model_dump_json()]
    with log.open("ab") as output, _process(command, output.fileno()) as process:
        try:
            code = process.wait(seconds)
        except subprocess.TimeoutExpired:
            return _Ending("the time of the section was over", timed_out=True)
    if code == 0:
        return None
    if code < 0:
        return _Ending(f"the process was ended by {signal.Signals(-code).name}")
    last = _tail(log).strip().rpartition("\n")[2]
    return _Ending(f"the process ended with code {code}: {last}"[:400])


@contextmanager
def _process(command: list[str], output: int) -> Iterator[subprocess.Popen[bytes]]:
    """Start a process; at the end of the block, kill it and all that it started."""
    process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()  # where there is no /proc, it alone
        _kill_session(process.pid)
        process.wait()


def _kill_session(session: int) -> None:
    """Kill the processes of a session: a training on several devices is a group of its own in it.

    One that goes on would take time and memory of the device from the sections that follow.
    """
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(ProcessLookupError):  # it has just ended
            if os.getsid(int(path.name)) == session:
                os.kill(int(path.name), signal.SIGKILL)


def _finish_parts(file: Path, ending: _Ending | None, log: Path) -> None:
    """Write a result for the part during which a process ended, and for those that are cut."""
    if ending is None:
        return
    results, unfinished, planned = read_parts(file)
    status: Status = "cut" if ending.timed_out else "failed"
    if unfinished is not None:
        result = PartResult(
            name=unfinished.name,
            status=status,
            values=unfinished.values,
            reason=ending.reason,
            traceback=_tail(log),
        )
        append_line(file, {"part": result.model_dump(mode="json")})
    if ending.timed_out:
        known = {each.name for each in results} | ({unfinished.name} if unfinished else set())
        for name in (name for name in planned if name not in known):
            result = PartResult(name=name, status="cut", reason=ending.reason)
            append_line(file, {"part": result.model_dump(mode="json")})


def _judge(parts: Sequence[PartResult], ending: _Ending | None) -> tuple[Status, str | None]:
    """Return the status of a section and the reason why it has no complete result."""
    failed = [each for each in parts if each.status == "failed"]
    cut = [each.name for each in parts if each.status == "cut"]
    if ending is not None and not ending.timed_out and not (parts and failed):
        return "failed", ending.reason
    if failed:
        first = f"{failed[0].name}: {failed[0].reason}"
        return "failed", f"{len(failed)} of {len(parts)} parts failed; {first}"
    if ending is not None and not parts:
        return "cut", f"{ending.reason} before its first part"
    if cut:
        return "cut", f"{len(cut)} of {len(parts)} parts were cut: {', '.join(cut)}"
    if all(each.status == "not measured" for each in parts):
        return "not measured", parts[0].reason if parts else "it has no parts"
    return "done", None


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-TAIL:]


def summary(result: SectionResult) -> list[str]:
    """Return lines about a section for the terminal: its status, and each part that is not done."""
    done = sum(each.status == "done" for each in result.parts)
    lines = [f"  {result.status}: {done} of {len(result.parts)} parts, {result.seconds:.0f} s"]
    if not result.parts and result.reason:
        lines.append(f"  {result.reason}")
    lines += [
        f"  {each.status}: {each.name}: {each.reason}"
        for each in result.parts
        if each.status != "done"
    ]
    return lines
