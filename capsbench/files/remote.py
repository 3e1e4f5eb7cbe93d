"""Files that are downloaded: what they are called, where they come from, what they must be."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from capsbench.files.content import check, damaged, opened


@dataclass(frozen=True)
class RemoteFile:
    """A file on the web.

    Args:
        name: Its name in the folder of the data set.
        sha256: Its SHA-256 in hexadecimal digits; None where nobody has published one.
        size: Its size in bytes; None where it is not known.
        urls: Its addresses, tried in turn; http or https.
    """

    name: str
    sha256: str | None
    size: int | None
    urls: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.urls or not all(url.startswith(("http://", "https://")) for url in self.urls):
            raise ValueError(f"{self.name}: expected addresses by http or https, got {self.urls}")

    def __str__(self) -> str:
        return self.name if self.sha256 is None else f"{self.name} (SHA-256 {self.sha256})"

    def check(self, path: Path) -> None:
        """Refuse a file that is another one.

        Raises:
            UserError: Its size or its SHA-256 is not the expected one, or it cannot be read.
        """
        with opened(path) as stream:
            found = os.fstat(stream.fileno()).st_size
            if self.size is not None and found != self.size:
                raise damaged(path, f"{self.size} bytes", f"{found}")
            if self.sha256 is not None:
                check(stream, self.sha256)
