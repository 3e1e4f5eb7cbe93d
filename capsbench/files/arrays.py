"""Cached arrays in an NPZ file, such as a rendered data set, with its SHA-256 in another file.

::

    <name>.npz            uncompressed; equal arrays give identical bytes
    <name>.npz.sha256     written last: its presence means that the NPZ file is complete
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
from capsbench.files.content import Content, describe_start, read, stream_sha256
from capsbench.files.locking import unwritable

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
    content = read(path)
    if content.sha256 != expected:
        raise UserError(
            f"{path} is damaged: expected SHA-256 {expected}, found {content.sha256}; remove it, "
            "and it is created again"
        )
    return parse_npz(content)


def parse_npz(content: Content) -> Arrays:
    """Return the arrays of an NPZ file.

    Raises:
        UserError: It is damaged, is not an NPZ file, or holds pickled objects.
    """
    if not content.data.startswith(b"PK"):
        raise content.damaged("an NPZ file", describe_start(content.data))
    try:
        with np.load(content.stream, allow_pickle=False) as archive:
            arrays: Arrays = dict(archive)
    except (zipfile.BadZipFile, zlib.error, ValueError, EOFError, OSError, RuntimeError) as error:
        raise content.damaged("an NPZ file of plain arrays", f"another one ({error})") from None
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):  # numpy returns members of other formats as bytes
            raise content.damaged("only arrays", f"a member {name!r}")
    return arrays


def _write(path: Path, arrays: Mapping[str, NDArray[Any]]) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
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
