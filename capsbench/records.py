"""What cells leave behind: JSON, CSV, NPZ and folders of models, each put in place whole.

::

    runs/<data>/<model>/<seed>-<fingerprint>/
        config.json                       what was asked for
        state.ckpt                        the resumable state, until the training is done
        trajectory.csv                    one row per look at the validation split
        profile/                          of some steps, if asked for: trace.json.gz, operations.txt
        checkpoints/<rule>/               the model that a rule chose: model.safetensors,
                                          config.json, README.md (its card)
        training.json                     written last: the training is done
        measures/<measure>-<fingerprint>.json, .npz
    runs/<benchmark>/benchmark.json       the protocol and the list of its cells
    runs/<benchmark>/examples.npz         test images at each view of the grid
    runs/<benchmark>/report/              the page, made from all of the above
"""

from __future__ import annotations

import csv
import io
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np

from capsbench.errors import UserError

SCHEMA = 1
Row = dict[str, float]


def fingerprint(content: Any) -> str:
    """Twelve hexadecimal digits that stand for a JSON value, whatever the order of its keys."""
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return sha256(text.encode()).hexdigest()[:12]


def write_bytes(path: Path, content: bytes) -> None:
    """Put a file in place by an atomic rename: a reader sees the old file or the new."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("wb") as stream:
        stream.write(content)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(path)


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Put a folder in place by a rename: a reader sees no folder, or a whole one.

    Yields:
        An empty folder beside it, for the contents.
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
        path.rename(old)  # removed file by file, which is not to be seen at its place
    new.rename(path)
    shutil.rmtree(work)


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file, atomically."""
    write_bytes(path, (json.dumps(content, indent=2, allow_nan=False) + "\n").encode())


def read_json(path: Path) -> Any:
    """Read a JSON file.

    Raises:
        UserError: The file is damaged or of another schema.
    """
    try:
        content = json.loads(path.read_bytes())
    except ValueError:
        raise UserError(
            f"{path} is damaged (not JSON); remove it and run the benchmark again"
        ) from None
    found = content.get("schema") if isinstance(content, dict) else None
    if found != SCHEMA:
        raise UserError(f"{path}: expected a record of schema {SCHEMA}, got {found!r}")
    return content


def write_npz(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays as a compressed NPZ file, atomically."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # the stub mistakes ** for allow_pickle
    write_bytes(path, stream.getvalue())


def read_npz(path: Path) -> dict[str, np.ndarray[Any, Any]]:
    """Read an NPZ file; nothing in it is unpickled."""
    # Opened here, since numpy leaves the file of a damaged archive open.
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


@dataclass(frozen=True)
class CellFolder:
    """The folder of one training and its measures; it knows the names, not the contents."""

    path: Path

    @property
    def config(self) -> Path:
        """What determines the training."""
        return self.path / "config.json"

    @property
    def state(self) -> Path:
        """The resumable state of an unfinished training."""
        return self.path / "state.ckpt"

    @property
    def trajectory(self) -> Path:
        """One row per look at the validation split."""
        return self.path / "trajectory.csv"

    @property
    def training(self) -> Path:
        """The outcome of the training; its presence means that the training is done."""
        return self.path / "training.json"

    @property
    def profile(self) -> Path:
        """The folder of a profile of some steps; absent unless it was asked for."""
        return self.path / "profile"

    def checkpoint(self, rule: str) -> Path:
        """The folder of the model that a selection rule chose."""
        return self.path / "checkpoints" / rule

    def measure(self, name: str) -> Path:
        """The outcome of a measure, ``name`` being ``<measure>-<fingerprint>``."""
        return self.path / "measures" / f"{name}.json"

    def samples(self, name: str) -> Path:
        """The per-sample outcomes of a measure."""
        return self.measure(name).with_suffix(".npz")


def clear_unfinished_writes(folder: Path) -> None:
    """Remove the temporary files and folders that a killed process left below a folder."""
    for leftover in list(folder.rglob(".*.tmp")):
        if leftover.is_dir():
            shutil.rmtree(leftover)
        else:
            leftover.unlink(missing_ok=True)
