"""The user's cache folder, and the part of it whose files are loaded as code.

Code is loaded only from a folder that nobody else can write to. A file carries the SHA-256 of its
content, which detects damage. It is no signature: whoever can write to the folder can also change
the packages of the user.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory

DIGEST = 64  # characters after the content


def cache_folder() -> Path:
    """Return this user's folder of generated files: ``$XDG_CACHE_HOME/capsbench``.

    A relative ``XDG_CACHE_HOME`` is ignored, as its specification requires: it would be another
    folder in each working directory.

    Raises:
        RuntimeError: The user has no home folder.
    """
    given = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (given if given.is_absolute() else Path.home() / ".cache") / "capsbench"


def code_folder(name: str) -> Path:
    """Return a folder for generated code, which is made if there is none.

    Args:
        name: Of the folder inside the cache folder.

    Raises:
        PermissionError: Another user could write to the folder, or replace it.
        OSError: The folder cannot be made.
        RuntimeError: The user has no home folder.
    """
    folder = cache_folder() / name
    folder.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    folder = folder.resolve()
    _require_private(folder)
    return folder


def code_file(path: Path, create: Callable[[Path], None]) -> Path:
    """Return a file of code, created if it is missing, damaged, or open to other users.

    Processes can create the same file at the same time: each one puts a whole file in place.

    Args:
        path: File in a folder from `code_folder`.
        create: Writes the content to a path.
    """
    if not _is_intact(path):
        with TemporaryDirectory(dir=path.parent) as folder:
            output = Path(folder, path.name)
            create(output)
            content = output.read_bytes()
            # The loader of libraries ignores what follows their end.
            output.write_bytes(content + sha256(content).hexdigest().encode())
            output.chmod(0o700)
            output.replace(path)
    return path


def _is_intact(path: Path) -> bool:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return False
    if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid() or status.st_mode & 0o022:
        return False
    content = path.read_bytes()
    return sha256(content[:-DIGEST]).hexdigest().encode() == content[-DIGEST:]


def _require_private(folder: Path) -> None:
    """Raise an error if others can write to a folder, or replace it or a folder above it.

    Above it, the owner's own group may write, which by convention has the owner's number: where
    each user has one, folders are usually made writable for it.
    """
    user = os.geteuid()
    for place in (folder, *folder.parents):
        status = place.stat()
        if status.st_uid not in ((user,) if place == folder else (user, 0)):
            raise PermissionError(
                f"the folder {place} belongs to another user; set XDG_CACHE_HOME to a folder of "
                f"your own"
            )
        shared = status.st_mode & 0o022
        if place != folder and status.st_mode & stat.S_ISVTX:
            shared = 0  # others cannot rename what is not theirs
        elif place != folder and status.st_gid == status.st_uid:
            shared &= 0o002
        if shared:
            raise PermissionError(
                f"other users can write to the folder {place}, where code would be loaded from "
                f"{folder}; run chmod go-w {place}, or set XDG_CACHE_HOME to another folder"
            )
