"""The files of affNIST's official test images: their forms, and their fields."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from capsbench.files.archives import zip_members
from capsbench.files.content import CHUNK, Content, damaged, open_checked, read
from capsbench.files.remote import RemoteFile
from capsbench.formats.matlab import read_affnist
from capsbench.formats.matlab5 import MAX_BYTES

# Nobody has published checksums of affNIST's files: their structure is checked instead, and they
# are downloaded by https alone.
REMOTE = RemoteFile(
    "test.mat.zip",
    None,
    None,
    ("https://www.cs.toronto.edu/~tijmen/affNIST/32x/transformed/test.mat.zip",),
    "zip",
)

Fields = dict[str, NDArray[Any]]


def folder(data_root: Path) -> Path:
    """Return the folder of the files."""
    return data_root / "affNIST"


def find_official(data_root: Path) -> Path | None:
    """Return the file or folder of the official test images, if there is one."""
    directory = folder(data_root)
    candidates = [directory / name for name in ("test.mat", "test.mat.zip", "test_batches.zip")]
    existing = [path for path in candidates if path.is_file()]
    batches = directory / "test_batches"
    if _batches(batches):
        existing.append(batches)
    return existing[0] if existing else None


def with_checksum(path: Path) -> str:
    """Return a path with the SHA-256 of the file, or of the files of a folder, for messages."""
    digest = sha256()
    for file in _batches(path) if path.is_dir() else [path]:
        with open_checked(file) as stream:
            while chunk := stream.read(CHUNK):
                digest.update(chunk)
    files = " of its files, one after the other" if path.is_dir() else ""
    return f"{path}, SHA-256{files} {digest.hexdigest()} (no checksum is published)"


def _batches(directory: Path) -> list[Path]:
    """Return the MATLAB files of a folder, 1.mat, 2.mat, ..., in the order of their numbers."""
    files = [file for file in directory.glob("*.mat") if file.stem.isdecimal()]
    return sorted(files, key=lambda file: int(file.stem))


def _contents(path: Path) -> Iterator[Content]:
    """Yield the MATLAB files, in the order of their numbers."""
    if path.is_dir():
        yield from (read(file, limit=MAX_BYTES) for file in _batches(path))
    elif path.suffix == ".zip":
        yield from zip_members(path, ".mat", limit=MAX_BYTES)
    else:
        yield read(path, limit=MAX_BYTES)


def read_fields(path: Path) -> Fields:
    """Return the fields of all images, see `read_affnist`.

    Raises:
        UserError: A file is damaged or not one of affNIST's, the files have different fields, or
            they hold more than the official images could.
    """
    parts: list[tuple[str, Fields]] = []
    available = MAX_BYTES
    for content in _contents(path):
        fields = read_affnist(content, available)
        available -= sum(values.nbytes for values in fields.values())
        parts.append((content.name, fields))
    return _join(parts)


def _join(parts: list[tuple[str, Fields]]) -> Fields:
    """Concatenate the fields of files, each given with its name."""
    (first, expected), *others = parts
    for name, fields in others:
        if _layout(fields) != _layout(expected):
            raise damaged(name, f"{_layout(expected)} as in {first}", _layout(fields))
    if not others:
        return expected
    return {name: np.concatenate([fields[name] for _, fields in parts]) for name in expected}


def _layout(fields: Fields) -> str:
    """Return the names of fields, each with its shape for one image."""
    shapes = {name: " x ".join(map(str, values.shape[1:])) for name, values in fields.items()}
    return ", ".join(f"{name} ({shape or 1})" for name, shape in sorted(shapes.items()))
