"""Members of archives, read into memory one by one: nothing is extracted to the disk."""

from __future__ import annotations

import gzip
import re
import tarfile
import zipfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath

from capsbench.errors import UserError
from capsbench.files.content import CHUNK, GZIP, Content, damaged, opened, start


def zip_members(path: Path, suffix: str, expected: str | None = None) -> Iterator[Content]:
    """The members of a zip file that are called ``*<suffix>``, by number: 2.mat before 10.mat.

    Args:
        path: The zip file.
        suffix: Ending of the members' names, such as ``".mat"``.
        expected: The file's SHA-256, checked before it is opened.

    Yields:
        Each member, in memory while it is used.

    Raises:
        UserError: The file is damaged or no zip file, or has no such member.
    """
    with opened(path, expected) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                names = [name for name in archive.namelist() if name.endswith(suffix)]
                names = [name for name in names if not PurePosixPath(name).name.startswith("._")]
                for name in sorted(names, key=_by_number):
                    yield Content(f"{path}:{_inside(path, name)}", bytearray(archive.read(name)))
        except (
            zipfile.BadZipFile,
            EOFError,
            OSError,
            ValueError,
            RuntimeError,  # a password is asked for, or an unknown way of packing
            zlib.error,
        ) as error:
            raise _unreadable(path, "a zip file", b"PK", error) from None
    if not names:
        raise damaged(path, f"members called *{suffix}", "none")


def tar_members(path: Path, names: Sequence[str], expected: str | None = None) -> Iterator[Content]:
    """Regular files of a gzip-packed tar file.

    Args:
        path: The tar file.
        names: Names of the wanted members.
        expected: The file's SHA-256, checked before it is opened.

    Yields:
        Each wanted member, in the archive's order, in memory while it is used.

    Raises:
        UserError: The file is damaged or no such file, or lacks one of the members.
    """
    missing = set(names)
    others = []
    with opened(path, expected) as stream:
        try:
            # Sequentially: seeking back in a packed file would unpack it again from its start.
            # Not by tarfile's own "r|gz", which checks neither the packed file's end nor its sum.
            with (
                gzip.GzipFile(fileobj=stream) as plain,
                tarfile.open(fileobj=plain, mode="r|") as archive,
            ):
                for member in archive:
                    inside = archive.extractfile(member) if member.name in missing else None
                    if inside is None:  # not wanted, or no regular file
                        others.append(member.name)
                        continue
                    missing.remove(member.name)
                    yield Content(f"{path}:{member.name}", bytearray(inside.read()))
                while plain.read(CHUNK):
                    pass
        except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
            raise _unreadable(path, "a tar file packed by gzip", GZIP, error) from None
    if missing:
        raise damaged(
            path, f"the members {', '.join(sorted(missing))}", ", ".join(others[:3]) or "no others"
        )


def _unreadable(path: Path, expected: str, magic: bytes, error: Exception) -> UserError:
    with opened(path) as stream:
        beginning = stream.read(64)
    if beginning.startswith(magic):
        return damaged(path, expected, f"one cut short or damaged ({error})")
    return damaged(path, expected, start(beginning))


def _inside(path: Path, name: str) -> str:
    """The name of a member, if it does not lead out of the archive's folder."""
    pure = PurePosixPath(name.replace("\\", "/"))
    if pure.is_absolute() or ".." in pure.parts:
        raise damaged(path, "members inside its own folder", repr(name))
    return name


def _by_number(name: str) -> tuple[int, str]:
    number = re.match(r"\d+", PurePosixPath(name).name)
    return (int(number[0]) if number else -1, name)
