"""One process at a time prepares the files of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from capsbench.errors import UserError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold the folder, which is made if need be; others who want it wait.

    What was missing before may be there when the wait is over, so look again inside. A process that
    is killed lets go of the folder. Reading needs no lock: files are put in place whole.

    Args:
        folder: The folder; its lock is the file ``.lock`` in it.

    Raises:
        UserError: The folder cannot be written.
    """
    lock = FileLock(folder / ".lock")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        yield
    finally:
        lock.release()


def unwritable(path: Path, error: OSError) -> UserError:
    """The error for a file or folder that cannot be written, be it for rights or for room."""
    return UserError(
        f"{path} cannot be written ({error.strerror}); make room there or make it writable, or "
        "name another root: --data-root for files, XDG_CACHE_HOME for what is rendered"
    )
