"""Files that are downloaded: what they are called, where they come from, what they must be."""

from __future__ import annotations

import os
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Literal

from capsbench.files.content import check, damaged, opened, start

PARQUET = b"PAR1"


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web.

    Args:
        name: Its name in the folder of the data set.
        sha256: Its SHA-256 in hexadecimal digits; None where nobody has published one.
        size: Its size in bytes; None where it is not known.
        urls: Its addresses, tried in turn; http or https.
        form: Its format, where there is no SHA-256: its beginning and its end must be there.

    Raises:
        ValueError: An address is none, or nothing tells the file from another one.
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
            raise ValueError(f"{self.name}: expected a SHA-256 or a form, got neither")

    def __str__(self) -> str:
        return self.name if self.sha256 is None else f"{self.name} (SHA-256 {self.sha256})"

    def check(self, path: Path) -> None:
        """Refuse a file that is another one.

        Raises:
            UserError: Its size, SHA-256 or form is not the expected one, or it cannot be read.
        """
        with opened(path) as stream:
            found = os.fstat(stream.fileno()).st_size
            if self.size is not None and found != self.size:
                raise damaged(path, f"{self.size} bytes", f"{found}")
            if self.sha256 is not None:
                check(stream, self.sha256)
            other = self.other_form(stream)
            if other is not None:
                raise damaged(path, f"a whole {self.form} file", other)

    def other_form(self, stream: BinaryIO) -> str | None:
        """How an open file begins that is no whole one of its format; None if it is.

        A file of unknown form, or whose SHA-256 tells, is not looked into.
        """
        if self.sha256 is not None or self.form is None or WHOLE[self.form](stream):
            return None
        stream.seek(0)
        return start(stream.read(64))


def _whole_zip(stream: BinaryIO) -> bool:
    """Whether the table of members, at the end, is that of the file."""
    try:
        with zipfile.ZipFile(stream):
            return True
    except (zipfile.BadZipFile, ValueError, RuntimeError):
        return False


def _whole_parquet(stream: BinaryIO) -> bool:
    """Whether the mark of the format is at both ends."""
    stream.seek(0)
    first = stream.read(len(PARQUET))
    stream.seek(max(len(PARQUET), stream.seek(0, os.SEEK_END) - len(PARQUET)))
    return first == stream.read() == PARQUET


WHOLE = {"zip": _whole_zip, "parquet": _whole_parquet}
