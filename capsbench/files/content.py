"""Contents of files in memory: checksums before any parsing, and bounds of what they unpack to."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import md5, sha256
from pathlib import Path
from typing import BinaryIO

from capsbench.errors import UserError

CHUNK = 1 << 20  # bytes: large enough for the disk, small enough for the cache
GZIP = b"\x1f\x8b"
MD5_DIGITS = 32  # hexadecimal; a SHA-256 has 64
# Of a user's own NPZ file and its arrays, and of a file without a published checksum.
MAX_BYTES = 1 << 32


@dataclass(frozen=True)
class Content:
    """Bytes in memory.

    Attributes:
        name: Name in error messages.
        data: The bytes; a ``bytearray``, so that an array over it is writable without a copy.
    """

    name: str
    data: bytearray

    @property
    def sha256(self) -> str:
        """SHA-256 of the bytes, in hexadecimal digits."""
        return sha256(self.data).hexdigest()

    @property
    def stream(self) -> io.BytesIO:
        """Bytes as a file, open at its start."""
        return io.BytesIO(self.data)

    def check(self, expected: str) -> Content:
        """Return this content if its checksum is the expected one.

        Args:
            expected: SHA-256, or MD5 where nobody has published more.

        Raises:
            UserError: The checksum differs.
        """
        actual = self.checksum_like(expected)
        if actual != expected.lower():
            raise self.damaged(describe_checksum(expected), actual)
        return self

    def checksum_like(self, expected: str) -> str:
        """Return the checksum of the bytes, of the same kind as an expected one."""
        if len(expected) == MD5_DIGITS:
            return md5(self.data, usedforsecurity=False).hexdigest()
        return self.sha256

    def damaged(self, expected: str, actual: str) -> UserError:
        """Return the error for unexpected content."""
        return damaged(self.name, expected, actual)


def damaged(name: object, expected: str, actual: str) -> UserError:
    """Return the error for a file with unexpected content.

    >>> str(damaged("a.gz", "a gzip file", "a web page"))
    'a.gz is damaged or the wrong file: expected a gzip file, found a web page; replace it'
    """
    return UserError(
        f"{name} is damaged or the wrong file: expected {expected}, found {actual}; replace it"
    )


def describe_checksum(checksum: str) -> str:
    """Return a checksum with the name of its kind."""
    return f"{'MD5' if len(checksum) == MD5_DIGITS else 'SHA-256'} {checksum}"


def describe_start(data: bytes | bytearray) -> str:
    r"""Describe the first bytes of data for an error message.

    >>> describe_start(b"<!DOCTYPE html><title>404</title>")
    'a web page'
    >>> describe_start(bytearray(b"PK\x03\x04 and more"))
    "b'PK\\x03\\x04 and...'"
    >>> describe_start(b"")
    'an empty file'
    """
    first = bytes(data[:8])
    if not first:
        return "an empty file"
    if bytes(data[:64]).lstrip().lower().startswith((b"<!doctype html", b"<html")):
        return "a web page"
    text = repr(first)
    return text if len(data) <= len(first) else f"{text[:-1]}...'"


def stream_sha256(stream: BinaryIO) -> str:
    """Return the SHA-256 of the rest of an open file."""
    digest = sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def check_sha256(stream: BinaryIO, expected: str) -> None:
    """Check the SHA-256 of an open file and rewind it.

    Raises:
        UserError: The SHA-256 differs.
    """
    actual = stream_sha256(stream)
    if actual != expected.lower():
        raise damaged(stream.name, f"SHA-256 {expected}", actual)
    stream.seek(0)


@contextmanager
def open_checked(path: Path, expected: str | None = None) -> Iterator[io.BufferedReader]:
    """Open a file and check its SHA-256.

    The checksum belongs to the open file, even if another file replaces it meanwhile.

    Args:
        path: Path of the file.
        expected: SHA-256; None if none is published.

    Yields:
        The file, open at its start.

    Raises:
        UserError: The file cannot be opened, or its SHA-256 differs.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    with stream:
        if expected is not None:
            check_sha256(stream, expected)
        yield stream


def read(path: Path, expected: str | None = None, *, limit: int = MAX_BYTES) -> Content:
    """Read a file into memory.

    Args:
        path: Path of the file.
        expected: SHA-256 or MD5, checked on the returned bytes; None if none is published.
        limit: The most bytes that the file may have.

    Raises:
        UserError: The file cannot be read, is too large, or its checksum differs.
    """
    with open_checked(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise damaged(path, f"at most {limit} bytes", str(size))
        data = bytearray(size)
        del data[stream.readinto(data) :]
    content = Content(str(path), data)
    return content if expected is None else content.check(expected)


def decompress(content: Content, limit: int) -> Content:
    """Decompress a gzip file; return other content unchanged unless its name ends in ``.gz``.

    Args:
        content: The file.
        limit: The most bytes that it may unpack to; decompression stops there.

    Raises:
        UserError: The file is truncated or damaged, unpacks to more, or is named ``.gz`` but is not
            a gzip file.
    """
    if not content.data.startswith(GZIP):
        if content.name.endswith(".gz"):
            raise content.damaged("a gzip file", describe_start(content.data))
        return content
    data = bytearray()
    try:
        with gzip.GzipFile(fileobj=content.stream) as stream:
            while chunk := stream.read(CHUNK):
                data += chunk
                if len(data) > limit:
                    raise content.damaged(f"at most {limit} bytes unpacked", "more")
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise content.damaged(
            "a complete gzip file", f"one that cannot be decompressed ({error})"
        ) from None
    return Content(content.name, data)
