"""Members of archives, read into memory one by one; no file is extracted to disk."""

from __future__ import annotations

import gzip
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from capsbench.errors import UserError
from capsbench.files.content import (
    CHUNK,
    GZIP,
    Content,
    damaged,
    describe_start,
    open_checked,
)


def zip_members(path: Path, suffix: str, expected: str | None = None) -> Iterator[Content]:
    """Read the members of a zip file with a suffix, in numerical order: 2.mat before 10.mat.

    Args:
        path: The zip file.
        suffix: Suffix of the members' names, such as ``".mat"``.
        expected: SHA-256 of the zip file, checked first.

    Yields:
        Each member, in memory.

    Raises:
        UserError: The file is damaged, is not a zip file, or has no such member.
    """
    with open_checked(path, expected) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                names = [name for name in archive.namelist() if name.endswith(suffix)]
                names = [name for name in names if not PurePosixPath(name).name.startswith("._")]
                for name in sorted(names, key=_leading_number):
                    full_name = f"{path}:{_require_relative(path, name)}"
                    yield Content(full_name, bytearray(archive.read(name)))
        except (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            ValueError,
            RuntimeError,  # an encrypted member, or an unknown compression method
            zlib.error,
        ) as error:
            raise _unreadable(path, "a zip file", b"PK", error) from None
    if not names:
        raise damaged(path, f"members named *{suffix}", "none")


def tar_members(path: Path, names: Sequence[str], expected: str | None = None) -> Iterator[Content]:
    """Read regular files of a gzip-compressed tar file.

    Args:
        path: The tar file.
        names: Names of the members to read.
        expected: SHA-256 of the tar file, checked first.

    Yields:
        Each of the members, in the archive's order, in memory.

    Raises:
        UserError: The file is damaged, is not a gzip-compressed tar file, or lacks a member.
    """
    missing = set(names)
    others = []
    with open_checked(path, expected) as stream:
        try:
            # Sequentially: seeking back in a gzip file would decompress it again from its start.
            # tarfile's own mode "r|gz" checks neither the gzip file's end nor its checksum.
            with (
                gzip.GzipFile(fileobj=stream) as decompressed,
                tarfile.open(fileobj=decompressed, mode="r|") as archive,
            ):
                for member in archive:
                    file = archive.extractfile(member) if member.name in missing else None
                    if file is None:  # not requested, or not a regular file
                        others.append(member.name)
                        continue
                    missing.remove(member.name)
                    yield Content(f"{path}:{member.name}", bytearray(file.read()))
                while decompressed.read(CHUNK):  # the checksum is at the end
                    pass
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise _unreadable(path, "a gzip-compressed tar file", GZIP, error) from None
    if missing:
        raise damaged(
            path, f"the members {', '.join(sorted(missing))}", ", ".join(others[:3]) or "no others"
        )


def _unreadable(path: Path, expected: str, magic: bytes, error: Exception) -> UserError:
    with open_checked(path) as stream:
        beginning = stream.read(64)
    if beginning.startswith(magic):
        return damaged(path, expected, f"a truncated or damaged one ({error})")
    return damaged(path, expected, describe_start(beginning))


def _require_relative(path: Path, name: str) -> str:
    """Return the name of a member, or refuse one that leads out of the archive's folder."""
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts:
        raise damaged(path, "members inside the archive's folder", repr(name))
    return name


def _leading_number(name: str) -> tuple[int, str]:
    number = re.match(r"\d+", PurePosixPath(name).name)
    return (int(number[0]) if number else -1, name)
