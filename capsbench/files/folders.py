"""Folders that a user names: checked before hours of work."""

from __future__ import annotations

import errno
import os
import tempfile
from collections.abc import Iterable
from fnmatch import fnmatchcase
from itertools import islice
from pathlib import Path

from capsbench.errors import UserError

MAX_LISTED = 10_000  # files of a folder that are compared with missing ones


def misplaced(folder: Path, missing: Iterable[str]) -> str:
    """Return a remark on files that may be the missing ones of a folder, or an empty text.

    Their names differ in case, in dots for hyphens or in ``.gz``, or they lie in a folder inside.

    Args:
        folder: The folder; it need not exist.
        missing: Names of files, or patterns of them.
    """
    patterns = {_normalized(name) for name in missing}
    files = (path for path in islice(folder.rglob("*"), MAX_LISTED) if path.is_file())
    similar = [
        str(path.relative_to(folder))
        for path in files
        if any(fnmatchcase(_normalized(path.name), pattern) for pattern in patterns)
    ]
    if not similar:
        return ""
    names = ", ".join(sorted(similar)[:4])
    return f" (there is {names}: another name, folder or form than expected)"


def _normalized(name: str) -> str:
    return name.lower().removesuffix(".gz").replace(".", "-")


def require_folder(data_root: Path | None) -> None:
    """Refuse a data root that does not exist; a mistyped one would start a download.

    Raises:
        UserError: There is no such folder.
    """
    if data_root is not None and not is_folder(data_root, "data root"):
        raise UserError(f"data root: no folder '{data_root}'")


def is_folder(path: Path, what: str) -> bool:
    """Return True for a folder.

    Args:
        path: The path.
        what: Description of it for the message.

    Raises:
        UserError: The system refuses the name, such as one that is too long.
    """
    try:
        return path.is_dir()
    except OSError as error:
        raise UserError(f"{what} '{path}': {error.strerror}") from None


def require_writable(output: Path) -> None:
    """Check that a folder is writable, before hours of work; leaves no trace.

    Args:
        output: A folder, which need not exist yet.

    Raises:
        UserError: A file has that name, the name is no text, or the system refuses to write.
    """
    try:
        os.fsencode(output.absolute()).decode("utf-8")
    except UnicodeDecodeError:  # safetensors refuses it
        raise UserError(f"folder '{output}': its full name is not UTF-8; choose another") from None
    try:
        nearest = next(path for path in (output, *output.parents) if _exists(path))
        if nearest.is_file():
            raise NotADirectoryError(errno.ENOTDIR, f"'{nearest}' is a file")
        with tempfile.TemporaryFile(dir=nearest):
            pass
    except OSError as error:
        raise UserError(f"cannot write in '{output}': {error.strerror}") from None


def _exists(path: Path) -> bool:
    """Check that a path exists; unlike `Path.exists` in some versions, never hide other errors."""
    try:
        path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return False
    return True


def unwritable(path: Path, error: OSError) -> UserError:
    """Return the error for a file or folder that cannot be written."""
    return UserError(
        f"{path} cannot be written ({error.strerror}); free disk space or make it writable, or "
        "choose another root: --output for runs, --data-root for files, "
        "XDG_CACHE_HOME for rendered data sets"
    )
