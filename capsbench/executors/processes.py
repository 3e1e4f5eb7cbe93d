"""Processes of works: their start, apart from the signals of the terminal."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence

ON_WINDOWS = os.name == "nt"


def start(
    command: Sequence[str], variables: Mapping[str, str], *, piped: bool
) -> subprocess.Popen[str]:
    """Start a process in a group of its own.

    Ctrl-C in a terminal signals the terminal's whole group. Only the parent gets it there, and it
    stops its processes in an orderly way.

    Args:
        command: The command.
        variables: Variables of the environment that differ from this process's.
        piped: Connect stdin and stdout to this process.
    """
    pipe = subprocess.PIPE if piped else None
    return subprocess.Popen(
        command,
        stdin=pipe or subprocess.DEVNULL,
        stdout=pipe,
        env=os.environ | variables,
        text=True,
        encoding="utf-8",
        process_group=None if ON_WINDOWS else 0,
        creationflags=subprocess.CREATE_NEW_PROCESS_GROUP if ON_WINDOWS else 0,  # type: ignore[attr-defined,unused-ignore]  # Windows only
    )
