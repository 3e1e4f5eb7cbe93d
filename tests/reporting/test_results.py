from __future__ import annotations

import json
from pathlib import Path

import pytest

from capsbench.errors import UserError
from capsbench.reporting.report import benchmarks_in
from capsbench.reporting.results import load


@pytest.fixture
def folder(tmp_path: Path, write_benchmark) -> Path:
    return write_benchmark(
        tmp_path, diverged=(("EM routing", 1),), unfinished=(("Dynamic routing", 0),)
    )


def test_states_of_cells(folder: Path):
    problems = {(c.label, c.seed): c.problem for c in load(folder).cells}
    assert problems == {
        ("CNN", 0): None,
        ("CNN", 1): None,
        ("Dynamic routing", 0): "not finished yet",
        ("Dynamic routing", 1): None,
        ("EM routing", 0): None,
        ("EM routing", 1): "diverged at step 137",
    }


def test_a_trained_cell_may_lack_a_measure(folder: Path):
    cell = load(folder).cells[0]
    (folder.parent / cell.path / "measures" / f"{cell.measures['accuracy-by-view']}.json").unlink()
    assert load(folder).cells[0].problem == "not measured yet"


def test_a_cell_may_not_have_begun(folder: Path):
    cell = load(folder).cells[2]
    (folder.parent / cell.path / "config.json").unlink()
    assert load(folder).cells[2].config is None


@pytest.mark.parametrize(
    "damage",
    ["{", "[]", '{"schema": 99}', '{"schema": 1}', '{"schema": 1, "status": "well"}'],
)
@pytest.mark.parametrize("name", ["quick/benchmark.json", "training.json", "config.json"])
def test_damaged_json_is_one_sentence(folder: Path, name: str, damage: str):
    runs = folder.parent
    path = runs / name if "/" in name else runs / load(folder).cells[0].path / name
    path.write_text(damage)
    with pytest.raises(UserError, match=path.name) as caught:
        load(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("damage", ["step,train_loss\n1\n", "step\nx\n"])
def test_damaged_trajectory(folder: Path, damage: str):
    (folder.parent / load(folder).cells[0].path / "trajectory.csv").write_text(damage)
    with pytest.raises(UserError, match=r"trajectory\.csv is damaged"):
        load(folder)


@pytest.mark.parametrize("damage", [b"", b"PK\x03\x04 not an archive", b"text"])
def test_damaged_examples(folder: Path, damage: bytes):
    (folder / "examples.npz").write_bytes(damage)
    with pytest.raises(UserError, match=r"examples\.npz is damaged"):
        load(folder)


def test_examples_must_match_their_list(folder: Path):
    record = json.loads((folder / "benchmark.json").read_text())
    record["examples"]["classes"].append("5")
    (folder / "benchmark.json").write_text(json.dumps(record))
    with pytest.raises(UserError, match="expected"):
        load(folder)


def test_benchmarks_in_a_runs_folder_or_one_of_its_own(folder: Path):
    assert benchmarks_in(folder.parent) == [folder]
    assert benchmarks_in(folder) == [folder]


def test_no_benchmark_is_one_sentence(tmp_path: Path):
    with pytest.raises(UserError, match="holds no benchmark's records"):
        benchmarks_in(tmp_path)
    with pytest.raises(UserError, match="is not a folder"):
        benchmarks_in(tmp_path / "nothing")
    with pytest.raises(UserError, match=r"holds no benchmark\.json"):
        load(tmp_path)
