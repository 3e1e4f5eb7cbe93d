"""Records of failures: saved and loaded unchanged, and verified like all records."""

import json
import platform

import pytest
from pydantic import ValidationError

from capsbench.environment.failure_kinds import killed
from capsbench.errors import UserError
from capsbench.records import CellFolder, FailureRecord
from capsbench.records.cell_files import load_failure


@pytest.fixture
def folder(tmp_path):
    return CellFolder(tmp_path / "0-0123456789ab")


@pytest.fixture
def record(folder):
    cell = folder.path.name
    return FailureRecord.now(killed(-9), cell=cell, job="train", log="log.txt", attempts=3)


def test_a_record_is_loaded_as_it_was_saved(folder, record):
    record.save(folder.failure)
    loaded = load_failure(folder)
    assert loaded == record
    assert loaded.host == platform.node()
    assert (loaded.kind, loaded.attempts, loaded.log) == ("killed", 3, "log.txt")


@pytest.mark.parametrize(
    "change",
    [
        {"kind": "bad luck"},
        {"log": "../log.txt"},
        {"attempts": 0},
        {"attempts": "3"},
        {"job": "cook"},
        {"note": "?"},
    ],
)
def test_other_contents_are_refused(record, change):
    with pytest.raises(ValidationError):
        FailureRecord.model_validate(record.model_dump() | change)


def test_the_record_of_another_cell_is_refused(folder, record):
    record.model_copy(update={"cell": "1-0123456789ab"}).save(folder.failure)
    with pytest.raises(UserError, match="1-0123456789ab"):
        load_failure(folder)


def test_an_edited_record_is_refused(folder, record):
    record.save(folder.failure)
    content = json.loads(folder.failure.read_text("utf-8"))
    folder.failure.write_text(json.dumps(content | {"attempts": 1}), "utf-8")
    with pytest.raises(UserError, match="--retry failed"):
        load_failure(folder)
    del content["checksum"]
    folder.failure.write_text(json.dumps(content), "utf-8")
    with pytest.raises(UserError, match="checksum"):
        load_failure(folder)
