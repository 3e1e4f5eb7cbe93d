"""The table of a folder of images: the class and the recorded view of each file."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from capsbench.datamodules._class_names import require_distinct_names
from capsbench.errors import UserError, unknown

TABLE = "labels.csv"
INTEGERS = ("lighting", "instance")
NUMBERS = ("azimuth", "elevation", "distance", *INTEGERS)
COLUMNS = ("file", "class", "split", *NUMBERS)
SPLITS = ("train", "test")
FEWEST = 3  # images of a class: one to train on, one for validation, one to test on


@dataclass(frozen=True)
class LabelTable:
    """Labels of N images.

    Attributes:
        files: N paths.
        names: N names of classes.
        factors: N numbers by name of the factor.
        splits: N times ``train`` or ``test``; None if the table has no column ``split``.
    """

    files: list[Path]
    names: list[str]
    factors: dict[str, list[float]]
    splits: list[str] | None

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes, sorted."""
        return tuple(sorted({*self.names}))


def read_table(folder: Path) -> LabelTable:
    """Read ``labels.csv``.

    Args:
        folder: Folder of the table and of the images.

    Raises:
        UserError: The table is missing or not a text file, lacks a column or has an unknown one; or
            a row has a file that is missing, occurs twice or lies outside of the folder, or a value
            that is not a number; or a class has no name of its own or too few images.
    """
    path = folder / TABLE
    rows = _rows(path)
    files, names = _files(path, rows), [row["class"] for row in rows]
    require_distinct_names(path, names)
    counts = Counter(names)
    if len(counts) < 2:
        raise UserError(f"{path} names one class, {names[0]!r}; a classifier needs two")
    for name, count in sorted(counts.items()):
        if count < FEWEST:
            raise UserError(
                f"{path}: class {name!r} has too few images, {count}; it needs {FEWEST}, to train "
                "on, for validation and to test on"
            )
    return LabelTable(
        files=files,
        names=names,
        factors={name: _numbers(path, name, rows) for name in NUMBERS if name in rows[0]},
        splits=_splits(path, rows) if "split" in rows[0] else None,
    )


def _rows(path: Path) -> list[dict[str, str]]:
    """Return the rows of the table, each with a value for every column."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            lines = list(csv.reader(stream, strict=True))
    except FileNotFoundError:
        raise UserError(
            f"there is no {path}; put it there, with the columns file, class and, where known, "
            "instance, azimuth, elevation, lighting, distance, split"
        ) from None
    except (OSError, UnicodeDecodeError, csv.Error, ValueError) as error:
        raise UserError(f"{path} cannot be read as comma-separated values ({error})") from None
    while lines and not "".join(lines[-1]).strip():  # empty lines at the end
        lines.pop()
    columns = [name.strip() for name in lines.pop(0)] if lines else []
    for name in ("file", "class"):
        if name not in columns:
            raise UserError(f"{path} has no column {name!r}, only {', '.join(columns) or 'none'}")
    for name in columns:
        if name not in COLUMNS:
            raise unknown(f"column of {path}:", name, COLUMNS)
    if len(set(columns)) < len(columns):
        raise UserError(f"{path} has a column twice: {', '.join(columns)}")
    for number, line in enumerate(lines, 2):
        if len(line) != len(columns):
            raise UserError(
                f"{path}, line {number}: {len(columns)} values expected, {len(line)} found"
            )
    if not lines:
        raise UserError(f"{path} has no row; give each image one")
    return [dict(zip(columns, map(str.strip, line), strict=True)) for line in lines]


def _files(path: Path, rows: list[dict[str, str]]) -> list[Path]:
    """Return the resolved file of each row; two names of one file are an error."""
    folder, files = path.parent.resolve(), []
    for line, row in enumerate(rows, 2):
        given = path.parent / row["file"]
        if not given.is_file():
            raise UserError(f"{path}, line {line}: there is no file {given}")
        file = given.resolve()
        if not file.is_relative_to(folder):
            raise UserError(f"{path}, line {line}: {file} is outside of the folder; put it inside")
        files.append(file)
    file, times = Counter(files).most_common(1)[0]
    if times > 1:
        name = file.relative_to(folder)
        raise UserError(f"{path} names {name} {times} times; give each file one row")
    return files


def _numbers(path: Path, name: str, rows: list[dict[str, str]]) -> list[float]:
    """Return the numbers of a column."""
    numbers: list[float] = []
    for line, row in enumerate(rows, 2):
        try:
            numbers.append(int(row[name]) if name in INTEGERS else float(row[name]))
        except ValueError:
            expected = "a whole number" if name in INTEGERS else "a number"
            raise UserError(
                f"{path}, line {line}: {name} is {expected}, not {row[name]!r}"
            ) from None
        if not math.isfinite(numbers[-1]):
            raise UserError(f"{path}, line {line}: {name} is a finite number, not {row[name]!r}")
    return numbers


def _splits(path: Path, rows: list[dict[str, str]]) -> list[str]:
    """Return the split of each row; every class is in both."""
    for line, row in enumerate(rows, 2):
        if row["split"] not in SPLITS:
            raise UserError(f"{path}, line {line}: split is train or test, not {row['split']!r}")
    counts = Counter((row["class"], row["split"]) for row in rows)
    for name in sorted({row["class"] for row in rows}):
        for split, fewest in (("train", FEWEST - 1), ("test", 1)):
            if counts[name, split] < fewest:
                raise UserError(
                    f"{path}: class {name!r} has too few {split} images, {counts[name, split]}; it "
                    f"needs {fewest}"
                )
    return [row["split"] for row in rows]
