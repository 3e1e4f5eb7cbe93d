"""Derived arrays kept in a file, such as a rendered set, with a SHA-256 beside it.

::

    <name>.npz            uncompressed, the same bytes for the same arrays
    <name>.npz.sha256     written last: its presence means that the file is whole
"""

from __future__ import annotations

import os
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsbench.errors import UserError
from capsbench.files.atomic import write_bytes
from capsbench.files.content import Content, read, start, stream_sha256
from capsbench.files.locking import unwritable

Arrays = dict[str, NDArray[Any]]


def save_arrays(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    """Keep arrays in a file, put in place whole; the folder is made if need be.

    Args:
        path: The file, ``*.npz``.
        arrays: Named arrays of numbers, booleans or text.

    Raises:
        UserError: The file cannot be written.
        ValueError: An array holds objects.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _put(path, arrays)
    except OSError as error:
        raise unwritable(path, error) from None


def load_arrays(path: Path) -> Arrays | None:
    """Arrays that `save_arrays` has kept.

    Returns:
        The arrays; None if there is no whole file.

    Raises:
        UserError: The file has changed since it was written.
    """
    try:
        words = _sum(path).read_text(encoding="utf-8", errors="replace").split()
    except FileNotFoundError:
        return None
    if not words or not path.is_file():  # written by halves
        return None
    expected = words[0]
    content = read(path)
    if content.sha256 != expected:
        raise UserError(
            f"{path} is damaged: expected SHA-256 {expected}, found {content.sha256}; remove it, "
            "and it is made anew"
        )
    return unpack(content)


def unpack(content: Content) -> Arrays:
    """The arrays of an NPZ file.

    Raises:
        UserError: It is damaged, no NPZ file, or holds objects, which would have to be unpickled.
    """
    if not content.data.startswith(b"PK"):
        raise content.damaged("an NPZ file", start(content.data))
    try:
        with np.load(content.stream, allow_pickle=False) as archive:
            arrays: Arrays = dict(archive)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        raise content.damaged("an NPZ file of plain arrays", f"another ({error})") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy gives members of other formats as bytes
            raise content.damaged("nothing but arrays", f"a member {name!r}")
    return arrays


def _put(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("w+b") as stream:
            with zipfile.ZipFile(stream, "w") as archive:
                for name, array in arrays.items():
                    # With its default date: the same arrays make the same file.
                    with archive.open(zipfile.ZipInfo(f"{name}.npy"), "w", force_zip64=True) as to:
                        np.lib.format.write_array(to, np.asarray(array), allow_pickle=False)
            stream.flush()
            os.fsync(stream.fileno())
            stream.seek(0)
            found = stream_sha256(stream)
        _sum(path).unlink(missing_ok=True)
        temporary.replace(path)
        write_bytes(_sum(path), f"{found}  {path.name}\n".encode())
    finally:
        temporary.unlink(missing_ok=True)


def _sum(path: Path) -> Path:
    return path.with_name(f"{path.name}.sha256")
