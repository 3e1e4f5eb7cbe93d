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
    try:
        names = [entry.name for entry in os.scandir(folder) if entry.name.startswith(".")]
    except (FileNotFoundError, NotADirectoryError):
        return
    for name in names:
        path = folder / name
        if match := UNFINISHED.fullmatch(name):
            if _is_abandoned(path, match["owner"]):
                remove(path)
        elif LEASES.fullmatch(name) and not path.is_symlink():
            clear_stale_lease(path)


def _is_abandoned(path: Path, owner: str | None) -> bool:
    process = Process.parse(owner or "")
    if process is not None and process.is_of_this_machine:
        return process.is_dead
    with suppress(FileNotFoundError):
        return time.time() - path.lstat().st_mtime > ABANDONED
    return False  # its process finished it meanwhile
