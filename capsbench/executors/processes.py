"""Processes of works: their start, apart from the signals of the terminal."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from capsbench.environment.entry import SIGNAL

ON_WINDOWS = os.name == "nt"


class Process(Protocol):
    """A process, started or forked, with pipes or without."""

    stdin: IO[str] | None
    stdout: IO[str] | None

    def wait(self) -> int | None:
        """Wait for the end; return the exit code as `subprocess` does, None if it is not known."""

    def terminate(self) -> None:
        """Send SIGTERM, unless it has ended."""


def start(
    command: Sequence[str],
    variables: Mapping[str, str],
    *,
    stdin: int = subprocess.DEVNULL,
    stdout: int | None = None,
    pass_fds: Sequence[int] = (),
) -> subprocess.Popen[str]:
    """Start a process in a group of its own.

    Ctrl-C in a terminal signals the terminal's whole group. Only the parent gets it there, and it
    stops its processes in an orderly way.

    Args:
        command: The command.
        variables: Variables of the environment that differ from this process's.
        stdin: As of `subprocess.Popen`.
        stdout: As of `subprocess.Popen`.
        pass_fds: Descriptors that the process inherits.
    """
    return subprocess.Popen(
        command,
        stdin=stdin,
        stdout=stdout,
        pass_fds=pass_fds,
        env={**os.environ, **_search_path(), **variables},
        text=True,
        encoding="utf-8",
        process_group=None if ON_WINDOWS else 0,
        creationflags=subprocess.CREATE_NEW_PROCESS_GROUP if ON_WINDOWS else 0,  # type: ignore[attr-defined,unused-ignore]  # Windows only
    )


def _search_path() -> dict[str, str]:
    """Return the variable by which a process finds modules that are not installed as this one does.

    A script can use modules that lie beside it, or that a notebook has added to the path.
    """
    installed = (sys.prefix, sys.base_prefix)
    own = [
        str(Path(folder).resolve())
        for folder in sys.path
        if not any(Path(folder).is_relative_to(place) for place in installed)
    ]
    return {"PYTHONPATH": os.pathsep.join(own)} if own else {}


def reap(process: Process) -> int | None:
    """Wait for the end of a process, close its pipes, and return its exit code."""
    code = process.wait()
    for pipe in (process.stdin, process.stdout):
        if pipe is not None:
            with suppress(BrokenPipeError):  # a request that it has not read
                pipe.close()
    return code


def was_killed(code: int) -> bool:
    """Return True if a process ended by a signal, at once or in an orderly way.

    >>> was_killed(-9), was_killed(143), was_killed(2)
    (True, True, False)
    """
    return code < 0 or code > SIGNAL
