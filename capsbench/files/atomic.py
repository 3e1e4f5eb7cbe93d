"""Files and folders that are put in place by one rename: JSON, CSV, NPZ, or any contents."""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from capsbench.errors import UserError

Row = dict[str, float]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file by an atomic rename: a reader sees the old contents or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Write a folder and put it in place by a rename: a reader sees no folder, or a complete one.

    Yields:
        An empty folder next to it, for the contents.
    """
    work = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    shutil.rmtree(work, ignore_errors=True)
    new, old = work / "new", work / "old"
    new.mkdir(parents=True)
    yield new
    for file in new.iterdir():
        with file.open("rb") as stream:
            os.fsync(stream.fileno())
    if path.is_dir():
        path.rename(old)  # deleting takes several steps, which a reader must not see
    new.rename(path)
    shutil.rmtree(work)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, atomically."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: The file is damaged.
    """
    try:
        return json.loads(path.read_bytes())
    except ValueError:
        raise UserError(
            f"{path} is damaged (not JSON); remove it and run the command again"
        ) from None


def write_npz(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays as a compressed NPZ file, atomically."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # the stub mistakes ** for allow_pickle
    write_bytes(path, stream.getvalue())


def read_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read an NPZ file without unpickling."""
    # numpy leaves the file of a damaged archive open, so it is opened here.
    with path.open("rb") as stream, np.load(stream, allow_pickle=False) as archive:
        return dict(archive)


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of numbers as CSV, atomically; the columns are the first row's keys."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, stream.getvalue().encode())


def read_rows(path: Path) -> list[Row]:
    """Read rows of numbers from CSV."""
    with path.open(newline="", encoding="utf-8") as stream:
        return [{key: float(value) for key, value in row.items()} for row in csv.DictReader(stream)]


def clear_unfinished_writes(folder: Path) -> None:
    """Remove temporary files and folders that a killed process left in a folder."""
    for leftover in list(folder.rglob(".*.tmp")):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
