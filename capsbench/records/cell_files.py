"""Records of one cell, each verified against the folder in which it lies."""

from __future__ import annotations

from pathlib import Path

from capsbench.errors import UserError
from capsbench.files.arrays import Arrays, parse_npz
from capsbench.files.atomic import Row, is_present
from capsbench.files.content import read, stream_sha256
from capsbench.records.failure import FailureRecord
from capsbench.records.folders import CellFolder
from capsbench.records.measure import MeasureRecord
from capsbench.records.record import REMEDY, damaged_record
from capsbench.records.training import TrainingConfig, TrainingRecord
from capsbench.records.trajectory import load_rows, validation_steps
from capsbench.records.weights import WeightsRecord


def load_config(folder: CellFolder) -> TrainingConfig:
    """Read what determines a training; its fingerprint must be that of the folder's name.

    Raises:
        UserError: The file is missing or damaged, or belongs to another folder.
    """
    config = TrainingConfig.load(folder.config)
    _require_folder(folder, folder.config, config.folder_name, TrainingConfig.remedy)
    return config


def load_weights(folder: CellFolder) -> WeightsRecord:
    """Read the record of a model that was trained elsewhere, verified as by `load_config`.

    Raises:
        UserError: The file is missing or damaged, or belongs to another folder.
    """
    weights = WeightsRecord.load(folder.weights)
    _require_folder(folder, folder.weights, weights.folder_name, WeightsRecord.remedy)
    return weights


def load_training(folder: CellFolder) -> TrainingRecord:
    """Read the outcome of a training.

    Raises:
        UserError: The file is missing or damaged, or belongs to another folder.
    """
    record = TrainingRecord.load(folder.training)
    _require_folder(folder, folder.training, record.cell, TrainingRecord.remedy)
    return record


def load_failure(folder: CellFolder) -> FailureRecord:
    """Read the record of the job that failed on a cell.

    Raises:
        UserError: The file is missing or damaged, or belongs to another folder.
    """
    record = FailureRecord.load(folder.failure)
    _require_folder(folder, folder.failure, record.cell, FailureRecord.remedy)
    return record


def load_trajectory(
    folder: CellFolder, config: TrainingConfig | None, training: TrainingRecord | None
) -> list[Row]:
    """Read the trajectory of a training, verified against its records; empty before the first row.

    Raises:
        UserError: The file is damaged, or missing although the training is done.
    """
    path = folder.trajectory
    if not is_present(path):
        if config is not None and training is not None and validation_steps(config, training):
            raise UserError(f"{path} is missing; run the benchmark again")
        return []
    rows = load_rows(path, config, training)
    if training is not None:
        require_sha256(path, training.files.get(path.name), REMEDY)
    return rows


def load_measure(folder: CellFolder, name: str) -> MeasureRecord:
    """Read the record of a measure; its fingerprint must be that of the file's name.

    Args:
        folder: Folder of the cell.
        name: Name of the record, ``<measure>-<fingerprint>``.

    Raises:
        UserError: The file is missing or damaged, or belongs to another name or folder.
    """
    path = folder.measure(name)
    remedy = measure_remedy(folder)
    record = MeasureRecord.load(path, remedy)
    _require_folder(folder, path, record.cell, remedy)
    expected = record.fingerprint
    if expected is not None and not name.endswith(f"-{expected}"):
        raise damaged_record(
            path, f"its arguments have the fingerprint {expected}, not that of its name", remedy
        )
    return record


def measure_remedy(folder: CellFolder) -> str:
    """Return what to do about a measure's damaged record: it is computed again if it is gone."""
    return WeightsRecord.remedy if folder.weights.is_file() else MeasureRecord.remedy


def has_measure(folder: CellFolder, name: str) -> bool:
    """Check that a measure has a record, and the arrays that the record names.

    Raises:
        UserError: The record is damaged.
    """
    return load_complete_measure(folder, name) is not None


def load_complete_measure(folder: CellFolder, name: str) -> MeasureRecord | None:
    """Read the record of a measure; None without it, or without the arrays that it names.

    Raises:
        UserError: The record is damaged.
    """
    if not is_present(folder.measure(name)):
        return None
    record = load_measure(folder, name)
    complete = record.arrays_sha256 is None or is_present(folder.per_image(name))
    return record if complete else None


def load_arrays(path: Path, expected: str | None, remedy: str = REMEDY) -> Arrays:
    """Read the arrays of an NPZ file, and verify the same bytes.

    Args:
        path: The file.
        expected: Its SHA-256; None, in older records, fits every file.
        remedy: What to do about a damaged file, for the message.

    Raises:
        UserError: It cannot be read, has another SHA-256, or is no NPZ file of plain arrays.
    """
    if not path.is_file():
        raise UserError(f"{path} cannot be read (no file); {remedy}")
    content = read(path)
    if expected is not None and content.sha256 != expected:
        raise damaged_record(path, "its SHA-256 is not the recorded one", remedy)
    try:
        return parse_npz(content)
    except UserError:
        raise damaged_record(path, "no plain arrays", remedy) from None


def file_sha256(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal digits."""
    with path.open("rb") as stream:
        return stream_sha256(stream)


def require_sha256(path: Path, expected: str | None, remedy: str) -> None:
    """Check the SHA-256 of a file; None, in older records, fits every file.

    Raises:
        UserError: It is another one, or the file cannot be read.
    """
    try:
        if expected is None or file_sha256(path) == expected:
            return
    except OSError as error:
        raise UserError(f"{path} cannot be read ({error.strerror}); {remedy}") from None
    raise damaged_record(path, "its SHA-256 is not the recorded one", remedy)


def _require_folder(folder: CellFolder, path: Path, name: str | None, remedy: str) -> None:
    """Refuse a record of another folder; None, in older records, fits every folder."""
    if name is not None and name not in folder.names:
        raise UserError(
            f"{path} belongs to a folder '{name}', not to '{folder.path.absolute().name}': it was "
            f"changed, or copied from there; {remedy}"
        )
