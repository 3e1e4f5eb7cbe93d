"""Several processes (DDP over gloo) learn as one does: the same losses, each image counted once."""

import json
import sys
from pathlib import Path

import pytest

from capsbench.executors.executor import Work
from capsbench.executors.group import run_group
from tests.training.trained_in_group import trajectory

PROGRAM = [sys.executable, "-m", "tests.training.trained_in_group"]
# Small sizes of the models of the benchmark 'quick'.
CNN = {"model": "cnn-small", "arguments": {"width": 4, "hidden": 16}}
DYNAMIC = {
    "model": "capsnet-dr",
    "arguments": {"channels": 8, "stride": 2, "primary_types": 2, "primary_kernel": 5},
}
EM = {
    "model": "capsnet-em",
    "learning_rate": 0.001,  # at 0.005 its loss explodes, and rounding with it
    "arguments": {
        "channels": 8, "kernel": 9, "stride": 4, "primary_types": 2, "types": [4], "strides": [2],
        "iterations": 2,
    },
}  # fmt: skip


def in_group(request, devices, monkeypatch):
    """Train in a group of processes; return the trajectory of the first one."""
    monkeypatch.chdir(Path(__file__).parents[2])
    work = Work("a", "a test", json.dumps({**request, "devices": devices}), devices=devices)
    ended = run_group(PROGRAM, work, {"OMP_NUM_THREADS": "1"})
    assert ended.answer is not None, ended
    return json.loads(ended.answer)


def require_equal(request, devices, tmp_path, monkeypatch, tolerance=1e-5):
    alone = trajectory({**request, "devices": 1}, tmp_path / "state.ckpt")
    shared = in_group(request, devices, monkeypatch)
    assert len(alone) == len(shared) == request["steps"]
    for one, other in zip(alone, shared, strict=True):
        assert one.keys() == other.keys()
        for column in one:
            assert other[column] == pytest.approx(one[column], abs=tolerance, rel=0), column


def test_two_processes_learn_as_one(tmp_path, monkeypatch):
    require_equal({**CNN, "steps": 5}, 2, tmp_path, monkeypatch)


@pytest.mark.slow
def test_augmentations_of_two_processes_are_those_of_one(tmp_path, monkeypatch):
    request = {**CNN, "steps": 5, "augmentation": [{"RandomErasing": {"p": 0.5}}]}
    require_equal(request, 2, tmp_path, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize("devices", [2, 3])
@pytest.mark.parametrize("model", [CNN, DYNAMIC, EM], ids=lambda each: each["model"])
def test_losses_of_twenty_steps(model, devices, tmp_path, monkeypatch):
    tolerance = 1e-4 if model is EM else 1e-5  # its logits are 20 times the evidence, also rounded
    request = {**model, "steps": 20, "follow": True}
    require_equal(request, devices, tmp_path, monkeypatch, tolerance)
