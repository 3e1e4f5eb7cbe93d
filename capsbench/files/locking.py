"""Lock for preparing the files of a folder by one process at a time."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock

from capsbench.errors import UserError


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Lock a folder, which is created if needed; other processes wait.

    Another process may have created missing files during the wait: check again inside. The lock of
    a killed process is released. Reading needs no lock, since files are replaced atomically.

    Args:
        folder: Folder; its lock is the file ``.lock`` in it.

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
    """Return the error for a file or folder that cannot be written."""
    return UserError(
        f"{path} cannot be written ({error.strerror}); free disk space or make it writable, or "
        "choose another root: --data-root for files, XDG_CACHE_HOME for rendered data sets"
    )
