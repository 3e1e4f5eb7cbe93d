"""Records: saved and loaded unchanged, and refused in one sentence if damaged."""

import json

import pytest
from pydantic import ValidationError

from capsbench.errors import UserError
from capsbench.records import MeasureRecord, Provenance
from capsbench.values import Quantity


@pytest.fixture
def record():
    quantity = Quantity(metric="accuracy", split="novel", factor="rotation", view=90.0)
    attack = Quantity(metric="accuracy", condition={"method": "fgsm", "epsilon": 0.1}, source="CNN")
    return MeasureRecord(
        measure="accuracy-by-view",
        arguments={"grid": {"rotation": [0, 90]}},
        rule="validation",
        values=(quantity.with_value(0.5, 400), attack.with_value(1 / 3, 20)),
        notes=("A note.",),
        seconds=1.25,
        device="a processor",
        provenance=Provenance.now(),
    )


def test_a_record_survives_its_file(record, tmp_path):
    record.save(tmp_path / "a.json")
    assert MeasureRecord.load(tmp_path / "a.json") == record
    assert json.loads((tmp_path / "a.json").read_text())["schema"] == 2


def test_rows_hold_no_absent_fields(record, tmp_path):
    record.save(tmp_path / "a.json")
    first, second = json.loads((tmp_path / "a.json").read_text())["values"]
    assert set(first) == {"metric", "split", "factor", "view", "value", "n"}
    assert set(second) == {"metric", "condition", "source", "value", "n"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "not JSON"),
        ("{", "not JSON"),
        ("[]", "schema 2, got None"),
        ('{"schema": 1}', "schema 2, got 1"),
        ('{"schema": 2}', "measure"),
    ],
)
def test_damaged_and_foreign_files_are_named(tmp_path, text, words):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        MeasureRecord.load(tmp_path / "a.json")
    assert "a.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(UserError, match=r"a\.json is missing"):
        MeasureRecord.load(tmp_path / "a.json")


def test_a_quantity_appears_once(record):
    with pytest.raises(ValidationError, match="appears twice"):
        MeasureRecord.model_validate(record.model_dump() | {"values": 2 * record.values})


def test_unknown_fields_are_refused(record):
    with pytest.raises(ValidationError, match="extra"):
        MeasureRecord.model_validate(record.model_dump() | {"colour": "red"})
