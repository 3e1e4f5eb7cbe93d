"""Stamp of a report: the checksums of its files, and of all that determines them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import BaseModel, ConfigDict, ValidationError

import capsbench
from capsbench.files.atomic import write_bytes
from capsbench.names import find
from capsbench.records import BenchmarkFolder, BenchmarkRecord, CellFolder, CellReference

if TYPE_CHECKING:
    from hashlib import _Hash as Hash

STAMP = "made_from.json"
LIBRARIES = (  # of pages
    *("altair", "itables", "jinja2", "markupsafe", "numpy", "pillow", "scipy"),
    "vl-convert-python",
)


class Stamp(BaseModel):
    """Contents of the file of a stamp.

    Attributes:
        inputs: Checksum of the records and of the code that the files are made from.
        files: SHA-256 of each file, by its path in the folder of the report.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    inputs: str
    files: dict[str, str]


def read_stamp(report: Path) -> Stamp | None:
    """Return the stamp of a report; None if there is none that can be read."""
    try:
        return Stamp.model_validate_json((report / STAMP).read_bytes())
    except (OSError, ValidationError):
        return None


def is_current(report: Path, inputs: str) -> bool:
    """Check that a report was made from given inputs, and that its files are as they were written.

    Args:
        report: Folder of the report.
        inputs: See `benchmark_inputs`.
    """
    stamp = read_stamp(report)
    if stamp is None or stamp.inputs != inputs or report.is_symlink():
        return False
    return all(_checksum(report / name) == sha for name, sha in stamp.files.items())


def write_report(report: Path, inputs: str, files: Mapping[str, bytes]) -> None:
    """Write the files of a report, then its stamp.

    Args:
        report: Folder of the report.
        inputs: See `benchmark_inputs`.
        files: Contents by the path in the folder.
    """
    for name, content in files.items():
        write_bytes(report / name, content)
    checksums = {name: sha256(content).hexdigest() for name, content in files.items()}
    stamp = Stamp(inputs=inputs, files=checksums)
    write_bytes(report / STAMP, stamp.model_dump_json(indent=1).encode())


def benchmark_inputs(folder: Path, record: BenchmarkRecord) -> str:
    """Return a checksum of all that determines the report of a benchmark.

    These are its records, the code of this package, the modules of its measures, which may be the
    user's own or those of a plug-in, and the versions of libraries. Arrays of single images count
    by their size and time of change: the records that name them hold their checksums.

    Args:
        folder: ``runs/<benchmark>``.
        record: Its record.
    """
    files = BenchmarkFolder(folder)
    total = sha256(code_version().encode())
    read = [find("measures", config.measure).source() for config in record.benchmark.measures]
    read += [files.record, files.examples]
    for cell in record.cells:
        read += _record_files(folder.parent, cell)
        for path in _array_files(folder.parent, cell):
            total.update(_size_and_time(path).encode())
    _add_files(total, read)
    return total.hexdigest()


def claims_inputs(folder: Path, parts: Iterable[str]) -> str:
    """Return a checksum of all that determines the report of claims.

    Args:
        folder: ``runs/<claims>``.
        parts: Names of the folders of the parts.
    """
    total = sha256(code_version().encode())
    _add_files(total, [BenchmarkFolder(folder).claims])
    for name in parts:
        part = folder.parent / name
        record = BenchmarkRecord.load(BenchmarkFolder(part).record)
        total.update(benchmark_inputs(part, record).encode())
    return total.hexdigest()


@cache
def code_version() -> str:
    """Return a checksum of this package's files, and of the versions of libraries."""
    root = Path(capsbench.__file__).parent
    total = sha256("\n".join(version(name) for name in LIBRARIES).encode())
    files = (path for path in root.rglob("*.*") if path.parent.name != "__pycache__")
    _add_files(total, sorted(files))
    return total.hexdigest()


def _record_files(runs: Path, cell: CellReference) -> Iterator[Path]:
    """Yield the records of a cell; some may be missing."""
    folder = CellFolder(runs / cell.path)
    yield from (folder.config, folder.training, folder.trajectory, folder.weights, folder.failure)
    yield from map(folder.measure, cell.measures.values())
    yield from sorted(folder.measure("x").parent.glob("*.json"))  # measured beside the protocol


def _array_files(runs: Path, cell: CellReference) -> Iterator[Path]:
    folder = CellFolder(runs / cell.path)
    yield from map(folder.per_image, cell.measures.values())


def _add_files(total: Hash, paths: Iterable[Path]) -> None:
    """Add the names and contents of files to a checksum."""
    for path in paths:
        total.update(f"{path.name} {_checksum(path)}\n".encode())


def _checksum(path: Path) -> str:
    """Return the SHA-256 of a file; empty if it is missing."""
    try:
        return sha256(path.read_bytes()).hexdigest()
    except (FileNotFoundError, NotADirectoryError, IsADirectoryError):
        return ""


def _size_and_time(path: Path) -> str:
    """Return the size and the time of change of a file; empty if it is missing."""
    try:
        status = path.stat()
    except (FileNotFoundError, NotADirectoryError):
        return ""
    return f"{status.st_size} {status.st_mtime_ns}"
