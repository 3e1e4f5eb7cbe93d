"""Identities of processes, by which another process knows that the writer of a file has died."""

from __future__ import annotations

import os
import re
import socket
import uuid
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from pathlib import Path

TEXT = re.compile(r"([0-9a-f]{12})-(\d+)-(\d+)")
PROC = Path("/proc")


@dataclass(frozen=True)
class Process:
    """Identity of a process on any machine.

    Attributes:
        machine: Hash of the host's name, its boot, and the namespace that numbers the processes:
            two containers on one host are two machines, as is one host before and after a restart.
        pid: Number of the process there.
        start: Time of its start in the system's ticks since the boot, because numbers are used
            again; 0 where the system does not tell it.
    """

    machine: str
    pid: int
    start: int

    def __str__(self) -> str:
        return f"{self.machine}-{self.pid}-{self.start}"

    @classmethod
    def parse(cls, text: str) -> Process | None:
        """Return the process of an identity as text; None if it is no such text.

        >>> Process.parse("0123456789ab-42-1000")
        Process(machine='0123456789ab', pid=42, start=1000)
        """
        match = TEXT.fullmatch(text)
        return None if match is None else cls(match[1], int(match[2]), int(match[3]))

    @property
    def is_of_this_machine(self) -> bool:
        """True if the process has run here, since the last boot."""
        return self.machine == _machine()

    @property
    def is_dead(self) -> bool:
        """True if the process has certainly ended; nothing is known of those of other machines."""
        if not self.is_of_this_machine:
            return False
        if _has_proc():
            return _start(self.pid) != self.start
        return os.name == "posix" and not _has_number(self.pid)


def this_process() -> Process:
    """Return the identity of the calling process."""
    return _process(os.getpid())


@cache  # by number: a forked child is another process
def _process(pid: int) -> Process:
    return Process(_machine(), pid, (_start(pid) or 0) if _has_proc() else 0)


@cache
def _machine() -> str:
    if _has_proc():
        boot = (PROC / "sys/kernel/random/boot_id").read_text("ascii").strip()
        place = f"{boot} {(PROC / 'self/ns/pid').readlink()}"
    else:  # the address of its network card; random in each process if there is none
        place = f"{uuid.getnode():x}"
    return sha256(f"{socket.gethostname()} {place}".encode()).hexdigest()[:12]


@cache
def _has_proc() -> bool:
    return os.access(PROC / "sys/kernel/random/boot_id", os.R_OK)


def _start(pid: int) -> int | None:
    """Return the start of a process in ticks since the boot; None if it has ended."""
    try:
        status = (PROC / f"{pid}/stat").read_text("utf-8", "replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    state, *fields = status.rpartition(")")[2].split()  # the name in parentheses has any characters
    return None if state in "ZX" else int(fields[18])  # proc(5): field 22, and Z is dead, unreaped


def _has_number(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # another user's
        pass
    return True
