"""Cached arrays in an NPZ file, such as a rendered data set, with its SHA-256 in another file.

::

    <name>.npz            uncompressed; equal arrays give identical bytes
    <name>.npz.sha256     written last: its presence means that the NPZ file is complete
"""

from __future__ import annotations

import math
import os
import sys
import zipfile
import zlib
from collections.abc import Collection, Mapping
from pathlib import Path
from tokenize import TokenError
from typing import Any

import numpy as np
from numpy.lib.format import read_array, read_array_header_1_0, read_array_header_2_0, read_magic
from numpy.typing import NDArray

from capsbench.errors import UserError
from capsbench.files.archives import require_bounded
from capsbench.files.atomic import temporary_path, write_bytes
from capsbench.files.content import MAX_BYTES, Content, describe_start, read, stream_sha256
from capsbench.files.folders import unwritable

MAGIC = b"\x93NUMPY"
READ_HEADER = {(1, 0): read_array_header_1_0, (2, 0): read_array_header_2_0}
UNREADABLE = (
    zipfile.BadZipFile,
    zlib.error,
    ValueError,
    EOFError,
    OSError,
    RuntimeError,  # an encrypted member, or a header that is nested too deeply
    TokenError,  # a header that is no expression
)
MAX_REASON = 200  # characters: numpy repeats a whole header in its message

Arrays = dict[str, NDArray[Any]]


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Save arrays to an NPZ file by an atomic rename; the folder is created if needed.

    Args:
        path: Path of the file, ``*.npz``.
        arrays: Named arrays of numbers, booleans or text.

    Raises:
        UserError: The file cannot be written.
        ValueError: An array holds objects.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _write(path, arrays)
    except OSError as error:
        raise unwritable(path, error) from None


def load_arrays(path: Path) -> Arrays | None:
    """Load arrays that `save_arrays` saved.

    Returns:
        The arrays; None if there is no complete file.

    Raises:
        UserError: The file has changed since it was written.
    """
    try:
        words = _checksum_path(path).read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return None
    if not words or not path.is_file():  # not completely written
        return None
    expected = words[0]
    content = read(path, limit=sys.maxsize)  # our own file
    if content.sha256 != expected:
        raise UserError(
            f"{path} is damaged: expected SHA-256 {expected}, found {content.sha256}; remove it, "
            "and it is created again"
        )
    return parse_npz(content, limit=len(content.data))


def parse_npz(
    content: Content,
    names: Collection[str] | None = None,
    required: Collection[str] = (),
    *,
    limit: int = MAX_BYTES,
) -> Arrays:
    """Return arrays of an NPZ file.

    Args:
        content: The file.
        names: Names of the arrays that are read, if they are there; all if left out.
        required: Names of arrays that have to be there.
        limit: The most bytes that the arrays may unpack to.

    Raises:
        UserError: The file is damaged, is not an NPZ file, lacks an array, holds pickled objects,
            unpacks to more, or an array is larger than its member.
    """
    if not content.data.startswith(b"PK"):
        raise content.damaged("an NPZ file", describe_start(content.data))
    try:
        with zipfile.ZipFile(content.stream) as archive:
            members = {member.filename.removesuffix(".npy"): member for member in archive.filelist}
            for name in required:
                if name not in members:
                    raise content.damaged(f"an array {name!r}", ", ".join(members) or "none")
            selected = {k: m for k, m in members.items() if names is None or k in names}
            require_bounded(content.name, selected.values(), limit)
            return {name: _array(content, archive, m) for name, m in selected.items()}
    except UNREADABLE as error:
        reason = str(error).partition("\n")[0][:MAX_REASON]
        raise content.damaged("an NPZ file of plain arrays", f"another one ({reason})") from None


def _array(content: Content, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[Any]:
    """Read an array whose header claims as many bytes as its member has.

    numpy alone would reserve the memory that a header claims before it reads the first number.
    """
    name = member.filename.removesuffix(".npy")
    with archive.open(member) as stream:
        if stream.read(len(MAGIC)) != MAGIC:
            raise content.damaged("only arrays", f"a member {name!r}")
        stream.seek(0)
        read_header = READ_HEADER.get(read_magic(stream))
        if read_header is None:
            raise content.damaged(f"{name!r} in the format of plain arrays", "another version")
        shape, _, dtype = read_header(stream)
        claimed, available = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
        if not dtype.itemsize:  # any number of elements in no bytes
            raise content.damaged(f"{name!r} with elements of at least a byte", str(dtype))
        if claimed != available and not dtype.hasobject:
            sizes = " x ".join(map(str, shape))
            expected = f"{claimed} bytes for {sizes} numbers of {name!r}"
            raise content.damaged(expected, f"{available}")
        stream.seek(0)
        array: NDArray[Any] = read_array(stream, allow_pickle=False)
    return array


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    temporary = temporary_path(path)
    try:
        with temporary.open("w+b") as stream:
            with zipfile.ZipFile(stream, "w") as archive:
                for name, array in arrays.items():
                    # A ZipInfo has a fixed date, so that equal arrays give identical files.
                    info = zipfile.ZipInfo(f"{name}.npy")
                    with archive.open(info, "w", force_zip64=True) as member:
                        np.lib.format.write_array(member, np.asarray(array), allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
            stream.seek(0)
            digest = stream_sha256(stream)
        _checksum_path(path).unlink(missing_ok=True)
        temporary.replace(path)
        write_bytes(_checksum_path(path), f"{digest}  {path.name}\n".encode())
    finally:
        temporary.unlink(missing_ok=True)


def _checksum_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
