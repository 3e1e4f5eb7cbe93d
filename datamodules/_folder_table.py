"""The table of a folder of images: which file shows what, and from where it was taken."""

from __future__ import annotations

import csv
import math
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

from capsbench.errors import UserError, unknown

TABLE = "labels.csv"
WHOLE = ("lighting", "instance")
NUMBERS = ("azimuth", "elevation", "distance", *WHOLE)
COLUMNS = ("file", "class", "split", *NUMBERS)
SPLITS = ("train", "test")
FEWEST = 3  # images of a class: one to train on, one for validation, one to test on


@dataclass(frozen=True)
class Table:
    """What a table says of N images.

    Attributes:
        files: N paths.
        classes: The names of the classes, sorted.
        labels: N numbers of classes.
        factors: N numbers by name of the factor.
        test: N times whether an image is to test on; None if the table does not say.
    """

    files: list[Path]
    classes: tuple[str, ...]
    labels: list[int]
    factors: dict[str, list[float]]
    test: list[bool] | None


def read_table(folder: Path) -> Table:
    """Read ``labels.csv``.

    Args:
        folder: Where it lies, and the images with it.

    Raises:
        UserError: The table is not there or no text, lacks a column, has one that is not known, or
            a row has a file that is not there, is there twice or lies elsewhere, or holds what is
            no number; or a class has too few images.
    """
    path = folder / TABLE
    rows = _rows(path)
    files, named = _files(path, rows), [row["class"] for row in rows]
    counts = Counter(named)
    classes = tuple(sorted(counts))
    if len(classes) < 2:
        raise UserError(f"{path} names one class, {classes[0]!r}; a classifier needs two")
    for name, count in sorted(counts.items()):
        if count < FEWEST:
            raise UserError(
                f"{path}: class {name!r} has too few images, {count}; it needs {FEWEST}, to train "
                "on, for validation and to test on"
            )
    return Table(
        files=files,
        classes=classes,
        labels=[classes.index(name) for name in named],
        factors={name: _numbers(path, name, rows) for name in NUMBERS if name in rows[0]},
        test=_tested(path, rows) if "split" in rows[0] else None,
    )


def _rows(path: Path) -> list[dict[str, str]]:
    """The rows of the table, each with a value for every column."""
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
    """The files of the rows, each another one, whatever way it is named."""
    folder, found = path.parent.resolve(), []
    for line, row in enumerate(rows, 2):
        named = path.parent / row["file"]
        if not named.is_file():
            raise UserError(f"{path}, line {line}: there is no file {named}")
        file = named.resolve()
        if not file.is_relative_to(folder):
            raise UserError(f"{path}, line {line}: {file} is outside of the folder; put it inside")
        found.append(file)
    file, times = Counter(found).most_common(1)[0]
    if times > 1:
        name = file.relative_to(folder)
        raise UserError(f"{path} names {name} {times} times; give each file one row")
    return found


def _numbers(path: Path, name: str, rows: list[dict[str, str]]) -> list[float]:
    """The numbers of a column."""
    found: list[float] = []
    for line, row in enumerate(rows, 2):
        try:
            found.append(int(row[name]) if name in WHOLE else float(row[name]))
        except ValueError:
            expected = "a whole number" if name in WHOLE else "a number"
            raise UserError(
                f"{path}, line {line}: {name} is {expected}, not {row[name]!r}"
            ) from None
        if not math.isfinite(found[-1]):
            raise UserError(f"{path}, line {line}: {name} is a finite number, not {row[name]!r}")
    return found


def _tested(path: Path, rows: list[dict[str, str]]) -> list[bool]:
    """Which rows are to test on."""
    for line, row in enumerate(rows, 2):
        if row["split"] not in SPLITS:
            raise UserError(f"{path}, line {line}: split is train or test, not {row['split']!r}")
    return [row["split"] == "test" for row in rows]
