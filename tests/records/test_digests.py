"""Digests of results: equal for equal numbers, whatever the time and place of the run."""

import json

import numpy as np
import pytest

from capsbench.records.digests import result_digests
from capsbench.records.folders import CellFolder

CELL = "digits/cnn-small/0-0123456789ab"


def write(runs, *, weights="a", seconds=1.0, loss=0.5, value=0.9, image=1.0):
    """Write the parts of a cell's records that count, and some that do not."""
    folder = CellFolder(runs / CELL)
    folder.measure("").parent.mkdir(parents=True)
    training = {"status": "trained", "selected": {}, "weights": {"last": weights}}
    folder.training.write_text(json.dumps(training | {"seconds": seconds}), "utf-8")
    folder.trajectory.write_text(f"step,train_loss,seconds\n4,{loss},{seconds}\n", "utf-8")
    folder.measure("cost-0").write_text(json.dumps({"values": [value], "seconds": seconds}))
    np.savez(folder.per_image("cost-0"), outcome=np.array([image]))
    folder.log.write_text(f"{seconds}", "utf-8")
    return result_digests(runs)


def test_times_do_not_count(tmp_path):
    first, second = write(tmp_path / "a"), write(tmp_path / "b", seconds=2.0)
    assert first == second
    names = ("measures/cost-0.json", "measures/cost-0.npz", "training.json", "trajectory.csv")
    assert sorted(first) == [f"{CELL}/{name}" for name in names]


@pytest.mark.parametrize(
    "change", [{"weights": "b"}, {"loss": 0.25}, {"value": 0.8}, {"image": 0.0}]
)
def test_another_number_is_another_digest(tmp_path, change):
    first, second = write(tmp_path / "a"), write(tmp_path / "b", **change)
    assert first.keys() == second.keys()
    assert sum(first[name] != second[name] for name in first) == 1
