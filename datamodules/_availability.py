"""Availability of the files of a set in its folder."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from capsbench.files.folders import misplaced
from capsbench.files.remote import RemoteFile


def missing_files(folder: Path, files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """Return the files that are not in a folder; the others are verified when they are read."""
    return [file for file in files if not (folder / file.name).is_file()]


def status_line(folder: Path, missing: Sequence[str], *, downloaded: bool = True) -> str:
    """Return one line that says if the files are in a folder, and what to do if not.

    Args:
        folder: Folder of the files.
        missing: Names of the files that are not there.
        downloaded: True for files that are downloaded when they are needed.
    """
    if not missing:
        return f"found in {folder}"
    action = "downloaded when needed, or put" if downloaded else "put"
    return f"not found; {action} {', '.join(missing)} in {folder}{misplaced(folder, missing)}"
