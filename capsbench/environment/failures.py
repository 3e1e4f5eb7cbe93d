"""Failures of the environment as sentences: a full disk, a missing permission, too little memory.

Our own bugs are no such failures: an error is one only if the operating system, an allocator of
memory, or the import of a library says so.
"""

from __future__ import annotations

import errno
import os
import re
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from os import PathLike, fspath
from pathlib import Path
from textwrap import shorten

SPACE = "free some space there"
ACCESS = "make it accessible"
# Errors of the system that no input and no bug causes, with the remedy.
REMEDIES = {
    errno.ENOSPC: SPACE,
    errno.EDQUOT: SPACE,
    errno.EACCES: ACCESS,
    errno.EPERM: ACCESS,
    errno.EROFS: ACCESS,
    errno.ENOTDIR: "remove what is in the way",
    errno.EISDIR: "remove what is in the way",
    errno.ELOOP: "remove what is in the way",
    errno.EIO: "check the disk",
    errno.ESTALE: "check the disk",
    errno.ENAMETOOLONG: "choose a shorter path",
    errno.EFBIG: "raise the limit of the size of a file (ulimit -f)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENFILE: "close other programs",
    errno.ENOMEM: "close other programs",
    errno.EAGAIN: "raise the limit of processes (ulimit -u), or close other programs",
}
# Errors that say nothing on other files.
OF_ONE_PLACE = (
    *(errno.EACCES, errno.EPERM, errno.ENOTDIR, errno.EISDIR),
    *(errno.ELOOP, errno.ENAMETOOLONG),
)
MEMORY = re.compile("can't allocate memory|out of memory|not enough memory", re.IGNORECASE)
PACKAGES = ("site-packages", "dist-packages")  # folders of libraries
OS_ERROR = re.compile(r"\(os error (\d+)\)|\bOs \{ code: (\d+)")  # as libraries in Rust write it


def sentence(error: BaseException) -> str | None:
    """Return the sentence for a failure of the environment; None for any other error.

    Args:
        error: The error that ended a command, or that one was raised from.
    """
    if isinstance(error, OSError) and error.errno in REMEDIES:
        place = f"'{error.filename}'" if error.filename else "the output"
        return (
            f"{place} cannot be used ({error.strerror}); {REMEDIES[error.errno]} or choose another "
            "place, and repeat the command: what is finished is kept"
        )
    if _is_out_of_memory(error):
        reason = _shortened(str(error).partition("\n")[0])
        return (
            f"not enough memory{f' ({reason})' if reason else ''}; use smaller batches "
            "(recipe.batch_size), fewer images (--limit), or a machine with more memory"
        )
    if failed := _reason_of_import(error):
        return failed
    return None if error.__cause__ is None else sentence(error.__cause__)


def is_of_one_place(error: BaseException) -> bool:
    """Return True if a failure with a `sentence` is that of one file: other work can go on."""
    if isinstance(error, OSError) and error.errno in REMEDIES:
        return error.errno in OF_ONE_PLACE
    return error.__cause__ is not None and is_of_one_place(error.__cause__)


def _shortened(text: str) -> str:
    return shorten(text, 160, placeholder=" ...")


def _reason_of_import(error: BaseException) -> str | None:
    """Return the sentence for a library that fails at a variable, or a file of settings, it reads.

    Python names the code of a file ``<module>``, so the last one is what was being imported.
    """
    frames = traceback.extract_tb(error.__traceback__)
    imported = [Path(frame.filename).parts for frame in frames if frame.name == "<module>"]
    parts = imported[-1] if imported else ()
    folder = next((name for name in PACKAGES if name in parts[:-1]), None)
    if folder is None or isinstance(error, ImportError):
        return None
    library = parts[parts.index(folder) + 1]
    failed = f"{library} cannot be imported ({_shortened(f'{type(error).__name__}: {error}')})"
    names = [name for name, value in os.environ.items() if _names(error, name, value)]
    if names:
        given = " and ".join(f"{name} to '{_shortened(os.environ[name])}'" for name in names)
        return f"{failed}; the environment sets {given}: correct or unset it"
    if isinstance(error, UnicodeDecodeError):
        return (
            f"{failed}; a file of its settings is not UTF-8: correct or remove it, for example "
            "'matplotlibrc' in the working directory"
        )
    return None


def _names(error: BaseException, variable: str, value: str) -> bool:
    """Return True if an error names a variable, its value, or a folder of the path that it is."""
    text = str(error)
    if isinstance(error, FileNotFoundError) and error.filename:
        return value.startswith(str(error.filename))
    return repr(value) in text or re.search(rf"\b{re.escape(variable)}\b", text) is not None


def _is_out_of_memory(error: BaseException) -> bool:
    """Recognize MemoryError, and torch's RuntimeError and its subclass on every device."""
    return isinstance(error, MemoryError) or (
        isinstance(error, RuntimeError) and MEMORY.search(str(error)) is not None
    )


@contextmanager
def writing(path: str | PathLike[str]) -> Iterator[None]:
    """Give errors of writing a file its path, also if a library hides the system's error.

    Args:
        path: The file or folder that is written.

    Raises:
        OSError: The system refuses to write.
    """
    try:
        yield
    except OSError as error:
        if error.errno is None:  # a library's own
            raise
        # A write to an open file has no name, a temporary file another one.
        raise OSError(error.errno, error.strerror, fspath(path)) from error
    except Exception as error:  # libraries have no common one; without a number it goes on
        hidden = error.__context__  # torch complains, in its own words, after a failed write
        match = OS_ERROR.search(str(error))
        if isinstance(error, RuntimeError) and isinstance(hidden, OSError) and hidden.errno:
            number = hidden.errno
        elif match:
            number = int(match[1] or match[2])
        else:
            raise
        raise OSError(number, os.strerror(number), fspath(path)) from error
