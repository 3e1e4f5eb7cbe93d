"""Bytes of a file in memory, whose SHA-256 was checked before anything looked into them."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import BinaryIO

from capsbench.errors import UserError

CHUNK = 1 << 20  # bytes: large enough for the disk, small enough to stay in the cache
GZIP = b"\x1f\x8b"


@dataclass(frozen=True)
class Content:
    """Bytes in memory, with the name by which messages call them.

    A ``bytearray``, so that an array over it is writable without a copy.
    """

    name: str
    data: bytearray

    @property
    def sha256(self) -> str:
        """The SHA-256 of the bytes, in hexadecimal digits."""
        return sha256(self.data).hexdigest()

    @property
    def stream(self) -> io.BytesIO:
        """The bytes as a file open at its start."""
        return io.BytesIO(self.data)

    def check(self, expected: str) -> Content:
        """This content, if its SHA-256 is the expected one.

        Raises:
            UserError: It is another one.
        """
        if self.sha256 != expected:
            raise self.damaged(f"SHA-256 {expected}", self.sha256)
        return self

    def damaged(self, expected: str, found: str) -> UserError:
        """The error for content that is not what it should be."""
        return damaged(self.name, expected, found)


def damaged(name: object, expected: str, found: str) -> UserError:
    """The error for a file that is not what it should be.

    >>> str(damaged("a.gz", "a gzip file", "a web page"))
    'a.gz is damaged or another file: expected a gzip file, found a web page; replace it'
    """
    return UserError(
        f"{name} is damaged or another file: expected {expected}, found {found}; replace it"
    )


def start(data: bytes | bytearray) -> str:
    r"""How data begins, in words for a message.

    >>> start(b"<!DOCTYPE html><title>404</title>")
    'a web page'
    >>> start(bytearray(b"PK\x03\x04 and more"))
    "b'PK\\x03\\x04 and...'"
    >>> start(b"")
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
    """The SHA-256 of what is left of an open file."""
    digest = sha256()
    while chunk := stream.read(CHUNK):
        digest.update(chunk)
    return digest.hexdigest()


def check(stream: BinaryIO, expected: str) -> None:
    """Refuse an open file whose SHA-256 is not the expected one; it is at its start afterwards.

    Raises:
        UserError: It is another one.
    """
    found = stream_sha256(stream)
    if found != expected:
        raise damaged(stream.name, f"SHA-256 {expected}", found)
    stream.seek(0)


@contextmanager
def opened(path: Path, expected: str | None = None) -> Iterator[io.BufferedReader]:
    """A file open at its start, after its SHA-256 was checked.

    The sum is that of the file which is then read, even if another takes its place meanwhile.

    Args:
        path: The file.
        expected: Its SHA-256; None where nobody has published one.

    Raises:
        UserError: It cannot be opened, or is another file.
    """
    try:
        stream = path.open("rb")
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror})") from None
    with stream:
        if expected is not None:
            check(stream, expected)
        yield stream


def read(path: Path, expected: str | None = None) -> Content:
    """A file's bytes.

    Args:
        path: The file.
        expected: Its SHA-256, checked on the bytes that are returned.

    Raises:
        UserError: It cannot be read, or is another file.
    """
    with opened(path) as stream:
        data = bytearray(os.fstat(stream.fileno()).st_size)
        del data[stream.readinto(data) :]
    content = Content(str(path), data)
    return content if expected is None else content.check(expected)


def unpacked(content: Content) -> Content:
    """What a gzip file holds; content that is neither packed nor called ``.gz``, as it is.

    Raises:
        UserError: The file is cut short, damaged, or called ``.gz`` without being one.
    """
    if not content.data.startswith(GZIP):
        if content.name.endswith(".gz"):
            raise content.damaged("a gzip file", start(content.data))
        return content
    data = bytearray()
    try:
        with gzip.GzipFile(fileobj=content.stream) as stream:
            while chunk := stream.read(CHUNK):
                data += chunk
    except (EOFError, gzip.BadGzipFile, zlib.error) as error:
        raise content.damaged(
            "a whole gzip file", f"one that cannot be unpacked ({error})"
        ) from None
    return Content(content.name, data)
