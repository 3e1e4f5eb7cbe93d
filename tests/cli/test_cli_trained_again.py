"""A finished training that lost its weights, and a record whose code is gone: `capsbench run`."""

import json
import shutil
from pathlib import Path

import pytest
import torch

from capsbench.records import BenchmarkRecord, CellFolder

RUN = ["run", "tiny.yaml", "--seeds", "0", "--device", "cpu", "--wandb", "off"]
MORE = "measures=[{measure: calibration}]"


@pytest.fixture
def one_thread():
    """With other numbers of threads, sums are rounded in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("one_thread")
@pytest.mark.parametrize("lost", ["checkpoints", "checkpoints/validation/model.safetensors"])
def test_equal_weights_keep_the_measures_of_other_benchmarks(cells, cli, lost):
    cell = cells["smaller"]
    (cell / "training.json").unlink()
    assert cli(*RUN)[0] == 0
    kept = {path: path.read_bytes() for path in cell.glob("measures/*")}
    place = cell / lost
    shutil.rmtree(place) if place.is_dir() else place.unlink()
    code, out, err = cli(*RUN, "--models", "smaller", "--set", MORE)
    assert (code, err) == (0, "")
    assert "it is trained again" in " ".join(out.split())
    assert "not exactly" not in out
    assert {path: path.read_bytes() for path in kept} == kept
    assert list(cell.glob("measures/calibration-*.json"))
    assert not CellFolder(cell).replaced.exists()


def test_other_weights_are_measured_again(cells, cli):
    cell = CellFolder(cells["smaller"])
    content = json.loads(cell.training.read_bytes())
    del content["checksum"], content["cell"]
    content["weights"]["validation"] = "0" * 64  # as if of a GPU
    cell.training.write_text(json.dumps(content))
    shutil.rmtree(cell.path / "checkpoints")
    code, out, _ = cli(*RUN, "--models", "smaller", "--set", MORE)
    assert code == 0
    assert "not exactly those of before" in " ".join(out.split())
    assert not list(cell.path.glob("measures/accuracy-by-view-*"))


def test_a_measure_without_weights_says_how_they_come_back(cells, refusal):
    (cells["small"] / "checkpoints/validation/model.safetensors").unlink()
    message = refusal("measure", str(cells["small"]), "--measures", "{measure: calibration}")
    assert "no checkpoint" in message
    assert "remove" not in message


def test_a_record_whose_code_is_gone_is_replaced(cells, cli):
    path = Path("runs/tiny/benchmark.json")
    content = json.loads(path.read_bytes())
    del content["checksum"]
    content["examples"] = None
    content["benchmark"]["measures"].append({"measure": "/gone/mine.py:Mine"})
    path.write_text(json.dumps(content))
    code, _, err = cli("report", "tiny")
    assert code == 2
    assert "or else remove it" in err
    assert cli(*RUN)[0] == 0
    assert len(BenchmarkRecord.load(path).benchmark.measures) == 1
