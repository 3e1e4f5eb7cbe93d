"""Files to download: name, addresses and checks."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from capsbench.files.content import check_sha256, damaged, describe_start, open_checked

PARQUET = b"PAR1"
MAX_BYTES = 1 << 30  # of a file of unknown size


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web.

    Args:
        name: Name in the folder of the data set.
        sha256: SHA-256 in hexadecimal digits; None if none is published.
        size: Size in bytes; None if it is unknown.
        urls: Addresses, tried in order; http or https. Without a SHA-256, use https.
        form: Format, needed without a SHA-256: the start and the end of the file are then checked.

    Raises:
        ValueError: An address is invalid, or there is neither SHA-256 nor format.
    """

    name: str
    sha256: str | None
    size: int | None
    urls: tuple[str, ...]
    form: Literal["zip", "parquet"] | None = None

    def __post_init__(self) -> None:
        if not self.urls or not all(url.startswith(("http://", "https://")) for url in self.urls):
            raise ValueError(f"{self.name}: expected addresses by http or https, got {self.urls}")
        if self.sha256 is None and self.form is None:
            raise ValueError(f"{self.name}: expected a SHA-256 or a format, got neither")

    @property
    def limit(self) -> int:
        """The most bytes that are downloaded."""
        return MAX_BYTES if self.size is None else self.size

    def __str__(self) -> str:
        return self.name if self.sha256 is None else f"{self.name} (SHA-256 {self.sha256})"

    def check(self, path: Path) -> None:
        """Check a local file.

        Raises:
            UserError: Its size, SHA-256 or format differs, or it cannot be read.
        """
        with open_checked(path) as stream:
            size = os.fstat(stream.fileno()).st_size
            if self.size is not None and size != self.size:
                raise damaged(path, f"{self.size} bytes", f"{size}")
            if self.sha256 is not None:
                check_sha256(stream, self.sha256)
            start = self.invalid_start(stream)
            if start is not None:
                raise damaged(path, f"a complete {self.form} file", start)

    def invalid_start(self, stream: BinaryIO) -> str | None:
        """Describe the start of an open file that is not a complete file of the format.

        Returns:
            The description; None if the file is complete, or if its SHA-256 decides.
        """
        if self.sha256 is not None or self.form is None or IS_COMPLETE[self.form](stream):
            return None
        stream.seek(0)
        return describe_start(stream.read(64))


def _is_complete_zip(stream: BinaryIO) -> bool:
    """Return whether a zip file has a valid table of members, which is at its end."""
    try:
        with zipfile.ZipFile(stream):
            return True
    except (zipfile.BadZipFile, ValueError, RuntimeError):
        return False


def _is_complete_parquet(stream: BinaryIO) -> bool:
    """Return whether a file starts and ends with the magic number of Parquet."""
    stream.seek(0)
    first = stream.read(len(PARQUET))
    stream.seek(max(len(PARQUET), stream.seek(0, os.SEEK_END) - len(PARQUET)))
    return first == stream.read() == PARQUET


IS_COMPLETE = {"zip": _is_complete_zip, "parquet": _is_complete_parquet}
