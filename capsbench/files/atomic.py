"""Files and folders that are put in place by one rename: JSON, CSV, NPZ, or any contents."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from capsbench.environment.failures import writing
from capsbench.errors import UserError
from capsbench.files import strict_json
from capsbench.files.processes import this_process

MAX_JSON = 200_000_000  # bytes
AGAIN = "remove it and run the command again"
# Names of temporary files and folders: their process, and a number of its own.
UNFINISHED = re.compile(r"\..+?\.(?:(?P<owner>[0-9a-f]+-\d+-\d+)\.)?\d+\.tmp")
NUMBERS = itertools.count(1)
Row = dict[str, float]


def write_bytes(path: Path, content: bytes) -> None:
    """Write a file, see `write_file`."""
    with write_file(path) as stream:
        stream.write(content)


@contextmanager
def write_file(path: Path) -> Iterator[BinaryIO]:
    """Write a file by an atomic rename: a reader sees the old contents or the new.

    A symbolic link of that name is replaced, and the file that it names is left as it is.

    Yields:
        A stream for the contents, of a file next to it.
    """
    temporary = temporary_path(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with temporary.open("xb") as stream:  # never through a link
                yield stream
                stream.flush()
                os.fsync(stream.fileno())
            temporary.replace(path)
        finally:  # a full disk needs the space
            remove(temporary)


def temporary_path(path: Path) -> Path:
    """Return a name next to a file or folder that no other process or thread uses.

    It has the identity of this process, so that another one can tell when it is abandoned, see
    `capsbench.files.leftovers`.
    """
    return path.with_name(f".{path.name}.{this_process()}.{next(NUMBERS)}.tmp")


def is_present(path: Path) -> bool:
    """Return True if anything has this name, also a folder or a link to nothing."""
    return os.path.lexists(path)


def remove_link(path: Path) -> None:
    """Remove a symbolic link in place of a folder of ours; what it names stays as it is."""
    if path.is_symlink():
        path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Remove a file, a folder, or a symbolic link without what it names; absent ones are fine."""
    while path.is_dir() and not path.is_symlink():
        with suppress(FileNotFoundError):  # another process removes it too
            shutil.rmtree(path)
    if is_present(path):
        path.unlink(missing_ok=True)


@contextmanager
def write_folder(path: Path) -> Iterator[Path]:
    """Write a folder and put it in place by a rename: a reader sees no folder, or a complete one.

    A file, or a symbolic link, of that name is replaced.

    Yields:
        An empty folder next to it, for the contents.
    """
    work = temporary_path(path)
    new, old = work / "new", work / "old"
    with writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            work.mkdir()  # never through a link
            new.mkdir()
            yield new
            for file in new.iterdir():
                with file.open("rb") as stream:
                    os.fsync(stream.fileno())
            if is_present(path):
                path.rename(old)  # deleting takes several steps, which a reader must not see
            new.rename(path)
        finally:
            remove(work)


def write_json(path: Path, content: Any, *, indent: int | None = 2) -> None:
    """Write a JSON file, atomically.

    Args:
        path: The file.
        content: Its content.
        indent: Spaces for each level; None for one line, half as long.

    Raises:
        UserError: A text of it has characters that `read_json` refuses, such as control characters.
    """
    try:
        strict_json.require_plain(content)
    except ValueError as error:
        raise UserError(f"{path} cannot be written: {error}") from None
    separators = (",", ":") if indent is None else None
    text = json.dumps(content, indent=indent, separators=separators, allow_nan=False)
    write_bytes(path, f"{text}\n".encode())


def read_json(path: Path, remedy: str = AGAIN) -> Any:
    """Read a JSON file, see `capsbench.files.strict_json.parse`.

    Args:
        path: The file.
        remedy: What to do about a damaged file, for the message.

    Raises:
        UserError: The file is damaged, or there is none.
    """
    try:
        if (size := path.stat().st_size) > MAX_JSON:
            raise ValueError(f"{size:,} bytes, more than {MAX_JSON:,}")
        return strict_json.parse(path.read_bytes())
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {remedy}") from None
    except ValueError as error:
        raise UserError(f"{path} is damaged ({error}); {remedy}") from None


def write_npz(path: Path, arrays: Mapping[str, np.ndarray[Any, Any]]) -> None:
    """Write arrays as a compressed NPZ file, atomically."""
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)  # type: ignore[arg-type]  # the stub mistakes ** for allow_pickle
    write_bytes(path, stream.getvalue())


def write_rows(path: Path, rows: Sequence[Row]) -> None:
    """Write rows of numbers as CSV, atomically; the columns are the first row's keys."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, fieldnames=list(rows[0]) if rows else [], lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_bytes(path, stream.getvalue().encode())


def read_rows(path: Path) -> list[Row]:
    """Read rows of numbers from CSV.

    Raises:
        ValueError: They are no rows of numbers.
        OSError: The file cannot be read.
    """
    try:
        with path.open(newline="", encoding="utf-8") as stream:
            rows = list(csv.DictReader(stream))
        return [{key: float(value) for key, value in row.items()} for row in rows]
    except (ValueError, TypeError, csv.Error):  # TypeError: a row with too few or too many columns
        raise ValueError("not rows of numbers") from None
