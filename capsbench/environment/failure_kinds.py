"""Kinds of failures that end a job on a cell, each with a reason of one sentence."""

from __future__ import annotations

import re
import signal
import traceback
from pathlib import Path
from textwrap import shorten
from typing import Literal, NamedTuple, TypeAlias

from capsbench.environment.failures import MEMORY
from capsbench.errors import printable

FailureKind: TypeAlias = Literal[
    "out of host memory", "out of device memory", "user code", "killed"
]
# Names of devices in torch's errors; libraries of NVIDIA name the failed allocation alone.
DEVICE = re.compile(r"\b(CUDA|HIP|XPU|MPS)\b", re.IGNORECASE)
DEVICE_ALLOCATION = re.compile(r"\bCU(BLAS|DNN|SOLVER|SPARSE)_STATUS_\w*ALLOC_FAILED")
REASON = 160  # characters
TRACEBACK = 16_000  # characters, of the most that a record's text may have
HOST_MEMORY = "use smaller batches (recipe.batch_size), fewer jobs at once, or more memory"
DEVICE_MEMORY = "use smaller batches (recipe.batch_size), fewer jobs per device, or a larger device"
KILLER = "on Linux most often the out-of-memory killer: run fewer jobs at once, or use more memory"


class Failure(NamedTuple):
    """Cause of a failed job.

    Attributes:
        kind: Kind of the failure.
        reason: The reason in one sentence.
        traceback: Python's traceback; empty if the process was killed.
    """

    kind: FailureKind
    reason: str
    traceback: str = ""


def classify(error: BaseException) -> Failure:
    """Return the kind of an exception that ended a job, one sentence, and the traceback.

    An error that is none of memory is of kind ``user code``, also if it is a bug of ours: the
    traceback tells them apart.

    Args:
        error: The exception, as it was caught.
    """
    text = "".join(traceback.format_exception(error))
    kind = _kind(error)
    message = printable(shorten(str(error).strip().partition("\n")[0], REASON, placeholder=" ..."))
    if kind == "user code":
        place = _place(error)
        reason = f"{type(error).__name__}{f': {message}' if message else ''}{place}"
    else:
        remedy = HOST_MEMORY if kind == "out of host memory" else DEVICE_MEMORY
        reason = f"{kind}{f' ({message})' if message else ''}; {remedy}"
    return Failure(kind, reason, _bounded(printable(text)))


def killed(code: int | None, engine: str = "") -> Failure:
    """Return the failure of a job whose process ended without an answer.

    Args:
        code: Exit code of the process, minus the signal's number if one ended it, as `subprocess`
            reports it; None if it is not known, as on another machine.
        engine: Words of the engine that ran it for its end; often empty.
    """
    if code is None or code >= 0:
        ended = engine or "its process ended without an answer"
        return Failure("killed", ended if code is None else f"{ended} (exit code {code})")
    try:
        name = signal.Signals(-code).name
    except ValueError:  # one of the real-time signals, which have no names
        name = f"signal {-code}"
    hint = f"; {KILLER}" if name == "SIGKILL" else ""
    return Failure("killed", f"its process was killed by {name}{hint}")


def _kind(error: BaseException) -> FailureKind:
    """Return the kind of an error, or of the one that it was raised from."""
    text = str(error)
    if isinstance(error, MemoryError):
        return "out of host memory"
    if isinstance(error, RuntimeError):  # torch's errors of memory on every device
        if DEVICE_ALLOCATION.search(text) or (MEMORY.search(text) and DEVICE.search(text)):
            return "out of device memory"
        if MEMORY.search(text):
            return "out of host memory"
    return "user code" if error.__cause__ is None else _kind(error.__cause__)


def _place(error: BaseException) -> str:
    """Return the file and line that raised an error, in brackets."""
    frames = traceback.extract_tb(error.__traceback__)
    return f" ({Path(frames[-1].filename).name}:{frames[-1].lineno})" if frames else ""


def _bounded(text: str) -> str:
    """Leave out the middle of a very long traceback: its ends have the call and the error."""
    if len(text) <= TRACEBACK:
        return text
    return f"{text[: TRACEBACK // 4]}\n...\n{text[-3 * TRACEBACK // 4 :]}"
