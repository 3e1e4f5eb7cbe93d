"""Leases: files by which one process at a time works on something, on any shared disk.

Locks of the system (``flock``) are not dependable on network file systems. A lease needs only what
all of them have: creation of a file that fails if the name exists (``O_EXCL``), and renaming. The
file says who holds it. Its owner writes a heartbeat into it about once a second, so that an owner
that was killed, or whose machine is gone, is told from one that works.

One fact keeps two processes from holding a lease, without any clock:

    Only the process that created ``<lease>.<token>`` with ``O_EXCL``, and saw *after that* that the
    lease has this token, removes or replaces the lease of this token.

``<lease>.<token>`` is thus a mutex of one generation of the lease, called its successor below.
Tokens are random and never return, so a process that was late sees another token, or none, and
gives up its successor. A lease appears in two ways: created with ``O_EXCL`` where there is none, or
as the successor, renamed onto the stale lease. Whoever then reads its own token in the lease's
place holds it. It follows that

* of two processes that break the same stale lease, one fails to create the successor;
* an owner that releases its lease while another process breaks it fails to create it too, and
  leaves the file alone;
* an owner that comes back after its lease was broken opens the file by its name, reads another
  token, and writes nothing. If it opened the file just before, it writes into the old file, which
  has no name any more.

A process can die between creating a lease and writing into it. Nobody knows then whose it was, so
that such a lease is stale after `TAKING_SECONDS` without a change: a live process needs less than a
millisecond for that step, and one that was suspended in it sees another token when it goes on.

A process can die between creating a successor and renaming it. The successor is stale then, by the
rules for leases, and is removed by the next process that needs it. This step alone is not
exclusive. Two that do it at once end in one of them holding the lease: both rename whatever
successor there is, and only one of them reads its own token afterwards.

No scheme of files stops an owner that is suspended between `Lease.require_held` and the write that
follows. What it writes is then complete, made by the same rules, and replaced by one rename.
"""

from __future__ import annotations

import os
import socket
import threading
import time
import uuid
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from capsbench.errors import UserError
from capsbench.files.folders import unwritable
from capsbench.files.holder import Holder, Number, create, open_file, parse, read, write
from capsbench.files.processes import Process, this_process

LEASE = ".lease"  # name of the file in a folder, or the end of its name
# An owner that gives no sign for so long has lost its lease. Network file systems show changes of
# other hosts late: NFS keeps attributes of a file for up to 60 s.
STALE_SECONDS = 120.0
TAKING_SECONDS = 5.0  # the same for an owner that has not yet written who it is
READINGS = 4  # fewer in that time prove nothing: the observer itself may have been suspended
BEAT_SECONDS = 1.0
POLL_SECONDS = (0.2, 1.0)  # of a wait: at first, and at most


class BusyError(Exception):
    """Another live process holds a lease; `holder` says which, None if it has just released it."""

    def __init__(self, holder: Holder | None) -> None:
        super().__init__(f"held by {holder}")
        self.holder = holder


class LeaseLostError(UserError):
    """The caller held a lease, and another process has taken it over since."""


class Lease:
    """A lease that this process holds; a context manager that releases it.

    A forked child does not hold it: it beats no heart, and releases nothing.
    """

    def __init__(self, path: Path, holder: Holder) -> None:
        self.path = path
        self.holder = holder
        self._progress = dict[str, Number]()
        self._pid = os.getpid()
        self._released = threading.Event()
        # A daemon: it keeps no process alive, and ends with it.
        threading.Thread(target=self._keep, name=f"lease {path}", daemon=True).start()

    def __enter__(self) -> Lease:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()

    def update(self, **progress: Number) -> None:
        """Set entries of the progress; they are written with the next heartbeat."""
        self._progress = {**self._progress, **progress}  # the thread never sees half of it

    def require_held(self) -> None:
        """Check that no other process has taken over.

        Raises:
            LeaseLostError: One has, or the lease was removed.
        """
        current = read(self.path)
        if current is None or current.token != self.holder.token:
            by = "it was removed" if current is None else f"it is held by {current}"
            raise LeaseLostError(
                f"this process no longer holds {self.path} ({by}): it gave no sign of life for "
                "some time, as when a machine is suspended; what it did since is not recorded. "
                "Repeat the command to go on"
            )

    def release(self) -> None:
        """Let other processes have it; a second call does nothing."""
        if self._released.is_set() or os.getpid() != self._pid:
            return
        self._released.set()
        # On a disk that fails, or is full, it stays and becomes stale: the work itself was done, or
        # has an error of its own, which this one would hide. FileExistsError: it is being broken.
        with suppress(OSError):
            successor = _successor(self.path, self.holder)
            create(successor, self.holder)
            current = read(self.path)
            if current is not None and current.token == self.holder.token:
                self.path.unlink()
            successor.unlink()

    def _keep(self) -> None:
        """Write heartbeats until the lease is released or lost."""
        while not self._released.wait(BEAT_SECONDS):
            try:
                if not self._beat():
                    return  # lost; `require_held` raises
            except FileNotFoundError:
                return
            except OSError:  # a disk that fails for less than STALE_SECONDS costs nothing
                continue

    def _beat(self) -> bool:
        """Write a heartbeat into the file; return False if another process has taken over.

        The file is opened anew, so that network file systems send the heartbeat when it is closed.
        """
        with open_file(self.path, os.O_RDWR) as file:
            current = parse(file)
            if current is None or current.token != self.holder.token:
                return False
            news = {"beat": time.time(), "progress": self._progress}
            write(file, self.holder.model_copy(update=news))
        return True


def lease(
    path: Path,
    task: str,
    *,
    on_wait: Callable[[Holder], None] = lambda _: None,
    stale_seconds: float = STALE_SECONDS,
) -> Lease:
    """Take a lease, after a wait while a live process holds it.

    That process may have created missing files meanwhile: check again afterwards. Reading records
    needs no lease, since files are replaced atomically.

    Args:
        path: The lease's file; its folder is created if needed.
        task: Work that it is taken for, in a few words.
        on_wait: Called once with the holder if there is a wait.
        stale_seconds: Time without a heartbeat after which a holder has lost it.

    Returns:
        The lease, for a ``with`` statement.

    Raises:
        UserError: The folder cannot be written, or the lease is a symbolic link.
    """
    pause, longest = POLL_SECONDS
    waits = False
    while True:
        taken = _take(path, task, stale_seconds)
        if isinstance(taken, Lease):
            return taken
        if taken is not None and not waits:
            on_wait(taken)
            waits = True
        time.sleep(pause)
        pause = min(1.5 * pause, longest)


def try_lease(path: Path, task: str, *, stale_seconds: float = STALE_SECONDS) -> Lease | None:
    """Take a lease if no other live process holds it, see `lease`.

    A holder of another machine is known to be dead after several calls that lie apart.

    Returns:
        The lease, for a ``with`` statement; None if another process holds it.

    Raises:
        UserError: The folder cannot be written, or the lease is a symbolic link.
    """
    taken = _take(path, task, stale_seconds)
    return taken if isinstance(taken, Lease) else None


def read_lease(path: Path, *, stale_seconds: float = STALE_SECONDS) -> Holder | None:
    """Return the holder of a lease.

    One that another machine has abandoned is recognized after several calls that lie apart.

    Returns:
        The holder; None if there is none, or if it is known to be dead.

    Raises:
        UserError: The lease is a symbolic link, or cannot be read.
    """
    try:
        current = read(path)
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); make it readable") from None
    if current is None or _is_stale(path, current, stale_seconds):
        return None
    return current


def clear_stale_lease(path: Path, *, stale_seconds: float = STALE_SECONDS) -> None:
    """Remove a lease, or the successor of one, whose process is known to be dead.

    Args:
        path: Either file; it need not exist.
        stale_seconds: See `lease`.

    Raises:
        UserError: It is a symbolic link.
    """
    current = read(path)
    if current is None or not _is_stale(path, current, stale_seconds):
        return
    if path.name.endswith(LEASE):
        if taken := try_lease(path, "clear leftovers", stale_seconds=stale_seconds):
            taken.release()
    else:
        path.unlink(missing_ok=True)


def _take(path: Path, task: str, stale_seconds: float) -> Lease | Holder | None:
    """Try once; return the lease, or its holder, or None if that one has just released it."""
    process, now = this_process(), time.time()
    mine = Holder(
        token=uuid.uuid4().hex,
        host=socket.gethostname(),
        pid=process.pid,
        task=task,
        since=now,
        beat=now,
        owner=str(process),
    )
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            create(path, mine)
        except FileExistsError:
            current = read(path)
            if current is None or not _is_stale(path, current, stale_seconds):
                return current
            _break(path, current, mine, stale_seconds)
        current = read(path)  # the truth, whatever happened in between
    except OSError as error:
        raise unwritable(path.parent, error) from None
    is_mine = current is not None and current.token == mine.token
    return Lease(path, mine) if is_mine else current


def _break(path: Path, stale: Holder, mine: Holder, stale_seconds: float) -> None:
    """Replace a stale lease by one's own, unless another process does, or its owner is back."""
    successor = _successor(path, stale)
    try:
        create(successor, mine)
    except FileExistsError:
        other = read(successor)
        if other is not None and _is_stale(successor, other, stale_seconds):
            successor.unlink(missing_ok=True)  # and the next attempt creates it
        return
    if read(path) == stale:
        with suppress(FileNotFoundError):  # it was taken for stale and renamed or removed
            successor.replace(path)
    else:
        successor.unlink(missing_ok=True)


def _successor(path: Path, holder: Holder) -> Path:
    return path.with_name(f"{path.name}.{holder.token}")


@dataclass(frozen=True)
class _Observation:
    """Last reading of a lease by this process.

    Attributes:
        holder: Its content.
        at: Time of the reading, by this process's monotonic clock in seconds.
        unchanged: Seconds for which the content was seen to stay the same.
    """

    holder: Holder
    at: float
    unchanged: float


_OBSERVATIONS: dict[Path, _Observation] = {}


def _is_stale(path: Path, holder: Holder, stale_seconds: float) -> bool:
    """Return True if the owner of a lease is dead, or was seen to give no sign for long.

    Clocks of two machines are never compared. A pause between two readings counts only in part,
    because the observer may have been suspended together with the owner, which then needs a moment.
    """
    process = Process.parse(holder.owner)
    if process is not None and process.is_dead:
        return True
    if holder.is_taking:
        stale_seconds = min(stale_seconds, TAKING_SECONDS)
    now, seen = time.monotonic(), _OBSERVATIONS.get(path)
    unchanged = 0.0
    if seen is not None and seen.holder == holder:
        unchanged = seen.unchanged + min(now - seen.at, stale_seconds / READINGS)
    _OBSERVATIONS[path] = _Observation(holder, now, unchanged)
    return unchanged >= stale_seconds
