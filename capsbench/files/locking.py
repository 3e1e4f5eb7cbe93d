"""Locks of folders, in which one process at a time writes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from capsbench.errors import UserError

LOCK = ".lock"  # name of the file in the folder


@contextmanager
def locked(folder: Path, busy: str | None = None) -> Iterator[None]:
    """Lock a folder, which is created if needed.

    Another process may have created missing files during the wait: check again inside. The lock of
    a killed process is released. Reading needs no lock, since files are replaced atomically.

    Args:
        folder: Folder; its lock is the file ``.lock`` in it.
        busy: Message if another process holds it; None to wait for that process.

    Raises:
        UserError: Another process holds it, the folder cannot be written, or its lock is a symbolic
            link.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = _lock(folder)
        lock.acquire(timeout=None if busy is None else 0)
    except Timeout:
        raise UserError(str(busy)) from None
    except OSError as error:
        raise unwritable(folder, error) from None
    try:
        yield
    finally:
        lock.release()


def _lock(folder: Path) -> FileLock:
    """Return the lock of a folder; through a link, another file would be emptied or kept locked."""
    path = folder / LOCK
    if path.is_symlink():
        raise UserError(f"{path} is a symbolic link, which no lock is; remove it")
    return FileLock(path)


def unwritable(path: Path, error: OSError) -> UserError:
    """Return the error for a file or folder that cannot be written."""
    return UserError(
        f"{path} cannot be written ({error.strerror}); free disk space or make it writable, or "
        "choose another root: --output for runs, --data-root for files, "
        "XDG_CACHE_HOME for rendered data sets"
    )
