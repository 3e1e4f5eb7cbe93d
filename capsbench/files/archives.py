"""Members of archives, read into memory one by one; no file is extracted to disk.

A tar file is unpacked only after its SHA-256 was verified. A zip file may be without one: the sizes
that it states are compared with a limit first, and no member unpacks to more than it states.
"""

from __future__ import annotations

import gzip
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path, PurePosixPath

from capsbench.environment.failures import REMEDIES
from capsbench.errors import UserError
from capsbench.files.content import (
    CHUNK,
    GZIP,
    MAX_BYTES,
    Content,
    damaged,
    describe_start,
    open_checked,
    read,
)

# A piece of bzip2 or LZMA unpacks at once, to any size; deflated ones are read bit by bit.
COMPRESSIONS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)


def zip_members(
    path: Path, suffix: str, expected: str | None = None, *, limit: int = MAX_BYTES
) -> Iterator[Content]:
    """Read the members of a zip file with a suffix, in numerical order: 2.mat before 10.mat.

    Args:
        path: The zip file.
        suffix: Suffix of the members' names, such as ``".mat"``.
        expected: SHA-256 of the zip file, checked first.
        limit: The most bytes that these members may unpack to, together.

    Yields:
        Each member, in memory.

    Raises:
        UserError: The file is damaged, is not a zip file, has no such member, or unpacks to more.
    """
    with open_checked(path, expected) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                members = [m for m in archive.infolist() if m.filename.endswith(suffix)]
                members = [
                    m for m in members if not PurePosixPath(m.filename).name.startswith("._")
                ]
                require_bounded(path, members, limit)
                for member in sorted(members, key=lambda m: _leading_number(m.filename)):
                    full_name = f"{path}:{_require_relative(path, member.filename)}"
                    yield Content(full_name, _read_member(archive, member))
        except (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            ValueError,
            RuntimeError,  # an encrypted member, or an unknown compression method
            zlib.error,
        ) as error:
            if isinstance(error, OSError) and error.errno in REMEDIES:  # the disk, not the file
                raise
            raise _unreadable(path, "a zip file", b"PK", error) from None
    if not members:
        raise damaged(path, f"members named *{suffix}", "none")


def require_bounded(name: object, members: Iterable[zipfile.ZipInfo], limit: int) -> None:
    """Refuse members of a zip file that would fill the memory, before any of them is read.

    `zipfile` returns no more of a member than the size that is compared here, whatever its data
    unpacks to. Members that lie over each other count each.

    Args:
        name: The zip file, for messages.
        members: The members.
        limit: The most bytes that they may unpack to, together.

    Raises:
        UserError: They unpack to more, or are compressed by another method than zip's own.
    """
    total = 0
    for member in members:
        total += member.file_size
        if member.compress_type not in COMPRESSIONS:
            actual = f"{member.filename!r} compressed by method {member.compress_type}"
            raise damaged(name, "members that are stored or deflated", actual)
    if total > limit:
        raise damaged(name, f"at most {limit} bytes unpacked", str(total))


def tar_members(path: Path, names: Sequence[str], expected: str) -> Iterator[Content]:
    """Read regular files of a gzip-compressed tar file.

    Args:
        path: The tar file.
        names: Names of the members to read.
        expected: SHA-256 of the tar file, checked first, on the bytes that are unpacked.

    Yields:
        Each of the members, in the archive's order, in memory.

    Raises:
        UserError: The file is damaged, is not a gzip-compressed tar file, or lacks a member.
    """
    missing = set(names)
    others = []
    content = read(path, expected)
    try:
        # Sequentially: seeking back in a gzip file would decompress it again from its start.
        # tarfile's own mode "r|gz" checks neither the gzip file's end nor its checksum.
        with (
            gzip.GzipFile(fileobj=content.stream) as decompressed,
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


def _read_member(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytearray:
    """Read a member in pieces: at once, it would be unpacked beyond the size that it states.

    Raises:
        BadZipFile: It has fewer bytes, which `zipfile` accepts.
    """
    data = bytearray()
    with archive.open(member) as stream:
        while chunk := stream.read(CHUNK):
            data += chunk
    if len(data) != member.file_size:
        raise zipfile.BadZipFile(
            f"{member.filename!r} has {len(data)} bytes, not {member.file_size}"
        )
    return data


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
