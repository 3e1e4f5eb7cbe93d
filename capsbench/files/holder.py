"""Files that say which process holds a lease."""

from __future__ import annotations

import os
import stat
import time
from io import FileIO
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field

from capsbench.errors import UserError, printable

MIN_BYTES = 1024  # the file's size, kept by padding: a heartbeat on a full disk needs no new space
MAX_BYTES = 65536
READ_TRIES, READ_PAUSE = 5, 0.01  # of a file that is just being written; the pause in seconds
# Flags that not all systems have, or need: links are refused, and a pipe is not waited for.
FLAGS = sum(getattr(os, name, 0) for name in ("O_NOFOLLOW", "O_NONBLOCK", "O_BINARY"))

Number = float | int | str


class Holder(BaseModel):
    """Content of a lease's file: the process that holds it.

    Attributes:
        token: Random name of this generation of the lease.
        host: Name of the owner's host.
        pid: Number of the owner's process there; 0 while the lease is being taken.
        task: Work that the lease is held for, such as ``"training"``.
        since: Time at which it was taken, by the owner's clock (Unix time, seconds).
        beat: Time of the last heartbeat, by the owner's clock. Only its changes count.
        progress: Numbers and texts of `Lease.update`.
        owner: Identity of the process, see `Process`.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    token: str = Field(pattern="^[0-9a-f-]+$")  # a part of a file's name
    host: str
    pid: int
    task: str
    since: float
    beat: float
    progress: dict[str, Number] = {}
    owner: str = ""

    @property
    def is_taking(self) -> bool:
        """True if the lease is just being taken, or its owner died in that step."""
        return not self.pid

    def __str__(self) -> str:
        place = f"process {self.pid} on {self.host}" if not self.is_taking else "a process"
        return printable(f"{place} ({self.task})")


def create(path: Path, holder: Holder) -> None:
    """Create a file with a holder.

    Raises:
        FileExistsError: The name is taken, by whatever it is.
        OSError: The file cannot be created, or not be written; it is then removed.
    """
    with open_file(path, os.O_RDWR | os.O_CREAT | os.O_EXCL) as file:
        try:
            write(file, holder)
        except OSError:
            path.unlink(missing_ok=True)
            raise


def read(path: Path) -> Holder | None:
    """Return the content of a lease's file; None if there is none.

    One without valid content is being taken, or was so by a process that died. Its token is made of
    the file's number and time.
    """
    for attempt in range(READ_TRIES):
        try:
            with open_file(path, os.O_RDONLY) as file:
                holder, status = parse(file), os.fstat(file.fileno())
        except FileNotFoundError:
            return None
        if holder is not None:
            return holder
        if attempt + 1 < READ_TRIES:
            time.sleep(READ_PAUSE)
    token, time_ = f"{status.st_ino:x}-{status.st_mtime_ns:x}", status.st_mtime
    return Holder(token=token, host="", pid=0, task="taking it", since=time_, beat=time_)


def open_file(path: Path, flags: int) -> FileIO:
    """Open a lease's file without a buffer; through a link, another file would be written.

    Raises:
        UserError: It is a symbolic link, or no file.
        OSError: The system refuses.
    """
    try:
        number = os.open(path, flags | FLAGS, 0o666)
    except FileExistsError:
        raise
    except OSError:
        if path.is_symlink():
            raise UserError(f"{path} is a symbolic link, which no lease is; remove it") from None
        raise
    if not stat.S_ISREG(os.fstat(number).st_mode):
        os.close(number)
        raise UserError(f"{path} is no ordinary file, which a lease is; remove it")
    return FileIO(number, "r" if flags & os.O_ACCMODE == os.O_RDONLY else "r+")


def parse(file: FileIO) -> Holder | None:
    """Return the holder in an open file; None if its content is not complete or not valid."""
    try:
        return Holder.model_validate_json(file.read(MAX_BYTES))
    except ValueError:
        return None


def write(file: FileIO, holder: Holder) -> None:
    """Write a holder into an open file, in place of its content."""
    size = max(os.fstat(file.fileno()).st_size, MIN_BYTES)
    content = holder.model_dump_json().encode().ljust(size - 1) + b"\n"
    file.seek(0)
    written = file.write(content)
    if written != len(content):  # a disk that has just become full raises at the second call
        file.write(content[written:])
