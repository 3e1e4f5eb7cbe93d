"""Whether the files of a set are at hand."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from capsbench.files.remote import RemoteFile


def missing(folder: Path, files: Iterable[RemoteFile]) -> list[RemoteFile]:
    """The files that are not in a folder; those that are, are checked when they are read."""
    return [file for file in files if not (folder / file.name).is_file()]


def told(folder: Path, lacking: Sequence[str], *, downloaded: bool = True) -> str:
    """In one line, whether files are there, and what to do if not.

    Args:
        folder: Where they belong.
        lacking: Names of the files that are not there.
        downloaded: Whether they are downloaded when they are needed.
    """
    if not lacking:
        return f"found in {folder}"
    how = "downloaded when needed, or put" if downloaded else "put"
    return f"not found; {how} {', '.join(lacking)} in {folder}"
