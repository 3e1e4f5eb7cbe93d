"""Loading of records: states of cells, and files that are damaged."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.fingerprint import fingerprint
from capsbench.records import MeasureRecord, load_results
from capsbench.records.cell_files import load_config
from capsbench.records.record import ENVELOPE
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


def edit(path: Path, change) -> None:
    """Change a record by hand, its checksum too."""
    content = json.loads(path.read_bytes())
    envelope = {name: content.pop(name) for name in ENVELOPE}
    change(content)
    text = json.dumps(content)
    if "NaN" not in text:
        envelope["checksum"] = fingerprint(content)
    path.write_text(json.dumps(envelope | content))


CONFIGS = {
    "learning rate": lambda content: content["recipe"].update(learning_rate=0.5),
    "seed": lambda content: content.update(seed=5),
    "revision": lambda content: content["model"].update(revision=2),
}


@pytest.mark.parametrize("change", CONFIGS.values(), ids=CONFIGS)
def test_a_config_has_the_fingerprint_of_its_folder(folder: Path, change):
    edit(load_results(folder).cells[0].folder.config, change)
    with pytest.raises(UserError, match=r"config\.json belongs to a folder '\d-[0-9a-f]{12}', not"):
        load_results(folder)


def test_a_copied_cell_is_refused_and_a_linked_one_is_read(folder: Path):
    cell = load_results(folder).cells[0]
    path = cell.folder.path
    copied = path.rename(path.with_name("0-0123456789ab"))
    with pytest.raises(UserError, match="belongs to a folder"):
        load_config(replace(cell.folder, path=copied))
    scratch = copied.rename(folder.parent / "scratch")
    path.symlink_to(scratch)
    assert load_results(folder).cells[0] == cell


MEASURES = {
    "arguments": (lambda content: content["arguments"]["grid"].pop("scale"), "fingerprint"),
    "revision": (lambda content: content.update(revision=7), "fingerprint"),
    "rule": (lambda content: content.update(rule="last"), "fingerprint"),
    "cell": (lambda content: content.update(cell="0-0123456789ab"), "belongs to a folder"),
    "accuracy": (lambda content: content["values"][0].update(value=2), r"within \[0, 1\], got 2"),
    "huge": (lambda content: content["values"][0].update(value=1e300), "within"),
    "n": (lambda content: content["values"][0].update(n=-1), "greater than or equal to 0"),
    "seconds": (lambda content: content.update(seconds=1e300), "seconds"),
    "text": (lambda content: content.update(seconds="3.5"), "seconds.*number"),
    "true": (lambda content: content["values"][0].update(n=True), "n: .*true"),
    "metric": (lambda content: content["values"][0].update(metric="=1+1"), "unknown metric"),
    "factor": (lambda content: content["values"][9].update(factor="nan"), "unknown factor"),
}


@pytest.mark.parametrize(("change", "words"), MEASURES.values(), ids=MEASURES)
def test_a_measure_has_the_fingerprint_of_its_name(folder: Path, change, words: str):
    cell = load_results(folder).cells[0]
    edit(cell.folder.measure(cell.reference.measures["accuracy-by-view"]), change)
    with pytest.raises(UserError, match=words):
        load_results(folder)


TRAININGS = {
    "NaN": (lambda content: content.update(seconds=float("nan")), "NaN is no number"),
    "huge": (lambda content: content.update(seconds=1e300), "seconds"),
    "negative": (lambda content: content.update(seconds=-1), "seconds"),
    "accuracy": (lambda content: content["selected"]["last"].update(accuracy=2), "accuracy"),
    "step": (lambda content: content["selected"]["last"].update(step=0), "step"),
    "other step": (lambda content: content["selected"]["last"].update(step=50), "rule 'last'"),
    "diverged": (lambda content: content.update(status="diverged", diverged_at=90), "1 rows"),
    "parameters": (lambda content: content.update(parameters=10**30), "parameters"),
}


@pytest.mark.parametrize(("change", "words"), TRAININGS.values(), ids=TRAININGS)
def test_impossible_outcomes_are_refused(folder: Path, change, words: str):
    edit(load_results(folder).cells[0].folder.training, change)
    with pytest.raises(UserError, match=words) as caught:
        load_results(folder)
    assert len(str(caught.value)) < 500


@pytest.mark.parametrize("name", ["training.json", "measures"])
def test_a_changed_number_does_not_fit_the_checksum(folder: Path, name: str):
    path = load_results(folder).cells[0].folder.path / name
    path = next(path.glob("*.json")) if path.is_dir() else path
    text = path.read_text()
    place = text.rindex("2")  # of the date
    path.write_text(f"{text[:place]}3{text[place + 1 :]}")
    with pytest.raises(UserError, match="changed after it was written"):
        load_results(folder)


def rows_of(change):
    """Change the lines of a trajectory below the names of the columns."""

    def damage(text: str) -> str:
        head, *rows = text.splitlines(keepends=True)
        return head + "".join(change(rows))

    return damage


def with_number(row: str, column: int, number: str) -> str:
    numbers = row.split(",")
    numbers[column] = number
    return ",".join(numbers)


TRAJECTORIES = {
    "emptied": lambda text: "",
    "without rows": rows_of(lambda rows: []),
    "zeroed": lambda text: "\0" * len(text),
    "a word": rows_of(lambda rows: ["x\n"]),
    "truncated": lambda text: text[: len(text) // 2],
    "reordered": rows_of(lambda rows: rows[::-1]),
    "duplicated": rows_of(lambda rows: [*rows, rows[-1]]),
    "shortened": rows_of(lambda rows: rows[:-1]),
    "better": rows_of(lambda rows: [with_number(rows[0], 3, "1.0"), *rows[1:]]),
    "not a number": rows_of(lambda rows: [with_number(rows[0], 2, "nan"), *rows[1:]]),
    "impossible": rows_of(lambda rows: [with_number(rows[0], 3, "2"), *rows[1:]]),
    "too few columns": lambda text: "step,train_loss\n1\n",
    "too many columns": rows_of(lambda rows: [rows[0].strip() + ",1,2\n", *rows[1:]]),
}


@pytest.mark.parametrize("damage", TRAJECTORIES.values(), ids=TRAJECTORIES)
def test_a_trajectory_agrees_with_the_training(folder: Path, damage):
    path = load_results(folder).cells[0].folder.trajectory
    path.write_text(damage(path.read_text()))
    with pytest.raises(UserError, match=r"trajectory\.csv is damaged") as caught:
        load_results(folder)
    assert "\n" not in str(caught.value)


BENCHMARKS = {
    "absolute": (lambda content: content["cells"][0].update(path="/etc/0-a"), "inside of the runs"),
    "parent": (lambda content: content["cells"][0].update(path="a/../../b"), "inside of the runs"),
    "measure": (lambda content: content["cells"][0].update(measures={"a": "../x"}), "measures"),
    "name": (lambda content: content["benchmark"].update(name="../../x"), "lower-case"),
    "newline": (lambda content: content["cells"][0].update(label="a\nb"), "one line"),
    "long label": (lambda content: content["cells"][0].update(label="a" * 101), "100 characters"),
    "escapes": (lambda content: content.update(command="\x1b[31m"), "control character"),
    "half a quote": (lambda content: content.update(command="capsbench 'run"), "quotation"),
}


@pytest.mark.parametrize(("change", "words"), BENCHMARKS.values(), ids=BENCHMARKS)
def test_names_lead_nowhere_else(folder: Path, change, words: str):
    edit(folder / "benchmark.json", change)
    with pytest.raises(UserError, match=words):
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
