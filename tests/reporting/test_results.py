"""Loading of records: states of cells, and files that are damaged."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.records import MeasureRecord, load_results
from capsbench.reporting.exports.csv_file import results_csv
from capsbench.values import Quantity


@pytest.fixture
def folder(tmp_path: Path, write_benchmark) -> Path:
    return write_benchmark(
        tmp_path, diverged=(("EM routing", 1),), unfinished=(("Dynamic routing", 0),)
    )


def test_states_of_cells(folder: Path):
    problems = {(c.label, c.seed): c.problem for c in load_results(folder).cells}
    assert problems == {
        ("CNN", 0): None,
        ("CNN", 1): None,
        ("Dynamic routing", 0): "not finished yet",
        ("Dynamic routing", 1): None,
        ("EM routing", 0): None,
        ("EM routing", 1): "diverged at step 137",
    }


def test_a_trained_cell_may_lack_a_measure(folder: Path):
    cell = load_results(folder).cells[0]
    cell.folder.measure(cell.reference.measures["accuracy-by-view"]).unlink()
    assert load_results(folder).cells[0].problem == "not measured yet"


def test_a_cell_may_be_untouched(folder: Path):
    load_results(folder).cells[2].folder.config.unlink()
    assert load_results(folder).cells[2].config is None


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", '{"schema": 1}', '{"schema": 2}', '{"schema": 2, "status": "well"}'],
)
@pytest.mark.parametrize("name", ["quick/benchmark.json", "training.json", "config.json"])
def test_damaged_json_is_one_sentence(folder: Path, name: str, damage: str):
    cell = load_results(folder).cells[0]
    path = folder.parent / name if "/" in name else cell.folder.path / name
    path.write_text(damage)
    with pytest.raises(UserError, match=path.name) as caught:
        load_results(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["step,train_loss\n1\n", "step\nx\n"])
def test_damaged_trajectory(folder: Path, damage: str):
    load_results(folder).cells[0].folder.trajectory.write_text(damage)
    with pytest.raises(UserError, match=r"trajectory\.csv is damaged"):
        load_results(folder)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not an archive", b"text"])
def test_damaged_examples(folder: Path, damage: bytes):
    (folder / "examples.npz").write_bytes(damage)
    with pytest.raises(UserError, match=r"examples\.npz is damaged"):
        load_results(folder)


def test_examples_must_match_their_list(folder: Path):
    record = json.loads((folder / "benchmark.json").read_text())
    record["examples"]["classes"].append("5")
    del record["checksum"]
    (folder / "benchmark.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="expected"):
        load_results(folder)


def test_a_folder_without_benchmark_is_refused(tmp_path: Path):
    with pytest.raises(UserError, match=r"no benchmark\.json"):
        load_results(tmp_path)


def test_conditions_have_columns_of_their_own(tmp_path: Path, write_benchmark, add_measure):
    folder = write_benchmark(tmp_path)
    attacked = Quantity(metric="accuracy", condition={"method": "fgsm", "epsilon": 0.1})
    config = {"measure": "attacks", "methods": ["fgsm"], "epsilons": [0.1]}
    add_measure(folder, "CNN", 0, config, [attacked.with_value(0.25, 50)])
    lines = list(csv.DictReader(io.StringIO(results_csv(load_results(folder)))))
    (line,) = [line for line in lines if line["measure"] == "attacks"]
    assert line["condition_method"] == "fgsm"
    assert float(line["condition_epsilon"]) == 0.1
    assert (line["label"], line["seed"], line["n"], line["at"]) == ("CNN", "0", "50", "")
    assert float(line["value"]) == 0.25
    others = {line["condition_method"] for line in lines if line["measure"] != "attacks"}
    assert others == {""}


def test_a_value_is_looked_up_by_its_quantity(folder: Path):
    record = load_results(folder).cells[0].measures["accuracy-by-view"]
    for value in record.values:
        assert record.get(value.quantity) == value.value
    assert record.get(Quantity(metric="missing")) is None
    assert MeasureRecord.model_validate(record.model_dump()) == record
