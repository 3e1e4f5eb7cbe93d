"""Records that are changed together with their checksum, or lose it."""

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from capsbench.errors import UserError
from capsbench.files.atomic import write_npz
from capsbench.records import (
    BenchmarkFolder,
    BenchmarkRecord,
    MeasureRecord,
    TrainingRecord,
    load_results,
)
from capsbench.records.cell_files import file_sha256, load_arrays


@pytest.fixture
def folder(tmp_path: Path, write_benchmark) -> Path:
    return write_benchmark(tmp_path, seeds=(0,), models=(("CNN", "cnn-small"),))


def save_examples(folder: Path, **update) -> None:
    path = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(path)
    assert record.examples is not None
    examples = record.examples.model_copy(update=update)
    record.model_copy(update={"examples": examples}).save(path)


def without_checksum(path: Path) -> None:
    content = json.loads(path.read_bytes())
    del content["checksum"]
    path.write_text(json.dumps(content))


def test_example_images_are_those_of_the_record(folder: Path):
    path = BenchmarkFolder(folder).examples
    save_examples(folder, sha256=file_sha256(path))
    images = load_results(folder).examples
    write_npz(path, {"images": np.zeros_like(images)})
    with pytest.raises(UserError, match="SHA-256"):
        load_results(folder)


def test_an_unknown_factor_of_an_example_is_refused(folder: Path):
    examples = BenchmarkRecord.load(BenchmarkFolder(folder).record).examples
    assert examples is not None
    views = examples.views
    save_examples(folder, views=(views[0].model_copy(update={"factor": "rotatoin"}), *views[1:]))
    with pytest.raises(UserError, match="expected a factor"):
        load_results(folder)


def test_a_checksum_is_not_removed(folder: Path):
    cell = load_results(folder).cells[0]
    name = cell.folder.path.name
    assert cell.training is not None
    (name_of_measure,), (measure,) = cell.reference.measures.values(), cell.measures.values()
    records: list[tuple[Path, TrainingRecord | MeasureRecord]] = [
        (cell.folder.training, cell.training),
        (cell.folder.measure(name_of_measure), measure),
    ]
    for path, record in records:
        without_checksum(path)  # as records from before checksums
        load_results(folder)
        record.model_copy(update={"cell": name}).save(path)
        load_results(folder)
        without_checksum(path)
        with pytest.raises(UserError, match="checksum was removed"):
            load_results(folder)
        record.save(path)


def test_a_record_is_of_the_measure_that_lists_it(folder: Path):
    path = BenchmarkFolder(folder).record
    record = BenchmarkRecord.load(path)
    (cell,) = record.cells
    (name,) = cell.measures.values()
    cell = cell.model_copy(update={"measures": {"calibration": name}})
    record.model_copy(update={"cells": (cell,)}).save(path)
    with pytest.raises(UserError, match="expected a record of calibration"):
        load_results(folder)


def test_an_array_of_unbounded_compression_is_refused(tmp_path: Path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_BZIP2) as archive:
        archive.writestr("images.npy", bytes(10**6))
    with pytest.raises(UserError, match="no plain arrays"):
        load_arrays(tmp_path / "a.npz", None)


def test_nothing_is_unpickled(tmp_path: Path):
    np.savez(tmp_path / "a.npz", bad=np.array([{"a": 1}], dtype=object))
    with pytest.raises(UserError, match="no plain arrays"):
        load_arrays(tmp_path / "a.npz", None)


def test_code_that_a_record_names_has_two_remedies(folder: Path):
    path = BenchmarkFolder(folder).record
    content = json.loads(path.read_bytes())
    content["benchmark"]["measures"].append({"measure": "gone.py:Mine"})
    without = {k: v for k, v in content.items() if k != "checksum"}
    path.write_text(json.dumps(without))
    with pytest.raises(UserError, match=r"trust-code.*or else remove it"):
        load_results(folder)
