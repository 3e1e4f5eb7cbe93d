"""Files of ours that killed processes left behind: unfinished writes, and leases."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress
from pathlib import Path

from capsbench.files.atomic import UNFINISHED, remove
from capsbench.files.lease import clear_stale_lease
from capsbench.files.processes import Process

ABANDONED = 86_400  # seconds after which an unfinished file of another machine has no owner
LEASES = re.compile(r"(?P<lease>\.(?:.+\.)?lease)(?P<successor>\.[0-9a-f-]+)?")


def clear_leftovers(folder: Path) -> None:
    """Remove what killed processes left in a folder; folders inside of it are not entered.

    Files of a process that still runs stay. Nothing is known of processes of other machines, or of
    this one before a restart: what they have not finished goes after a day, and their leases when
    they are needed.

    Args:
        folder: The folder; it need not exist.
    """
    for path in abandoned_writes(folder):
        remove(path)
    for path in _hidden(folder):
        if LEASES.fullmatch(path.name) and not path.is_symlink():
            clear_stale_lease(path)


def abandoned_writes(folder: Path) -> list[Path]:
    """Return unfinished files and folders of killed processes in a folder, see `clear_leftovers`.

    Args:
        folder: The folder; it need not exist.
    """
    matches = ((path, UNFINISHED.fullmatch(path.name)) for path in _hidden(folder))
    return [path for path, match in matches if match and _is_abandoned(path, match["owner"])]


def _hidden(folder: Path) -> list[Path]:
    try:
        return [folder / each.name for each in os.scandir(folder) if each.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return []


def _is_abandoned(path: Path, owner: str | None) -> bool:
    process = Process.parse(owner or "")
    if process is not None and process.is_of_this_machine:
        return process.is_dead
    with suppress(FileNotFoundError):
        return time.time() - path.lstat().st_mtime > ABANDONED
    return False  # its process finished it meanwhile
