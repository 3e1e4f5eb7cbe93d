"""Trainings in a group of two processes (DDP over gloo)."""

import platform
import subprocess

import pytest
from rich.console import Console

from capsbench.files.atomic import read_rows
from capsbench.records import MeasureRecord, TrainingRecord
from capsbench.running.plan import plan
from capsbench.running.session import Session
from capsbench.schema import Benchmark
from tests.running.conftest import ONE_THREAD

ON_GLIBC = "on" if platform.libc_ver()[0] == "glibc" else "off: only the C library glibc"


def test_two_processes_make_one_record(tiny_protocol, session, command):
    """Each process trains on half of a batch, nothing is counted twice, one record is left."""
    protocol = {**tiny_protocol, "seeds": [0]}
    (cell,) = plan(Benchmark.model_validate(protocol))
    arguments = command(protocol, session.output, "--devices", "2", "--strategy", "ddp")
    result = subprocess.run(arguments, env=ONE_THREAD, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    folder = session.folder(cell)
    training = TrainingRecord.load(folder.training)
    assert training.execution.devices == 2
    # Set by each process itself, not inherited from its parent.
    assert training.execution.process["freed memory"].startswith(ON_GLIBC)
    assert training.status == "trained"
    (name,) = cell.measures
    assert MeasureRecord.load(folder.measure(name)).n == 100
    assert len(list(folder.path.rglob("training.json"))) == 1
    # Dropout differs by process; the other arithmetic is that of one process.
    assert len(read_rows(folder.trajectory)) == 3


def test_two_processes_learn_as_one(tiny_protocol, tiny_file, session, command):
    """Without dropout, the same global batches give the same weights up to rounding."""
    models = [{"name": f"{tiny_file}:Tiny", "arguments": {"rate": 0.0}}]
    protocol = {**tiny_protocol, "seeds": [0], "models": models, "follow": ["familiar"]}
    (cell,) = plan(Benchmark.model_validate(protocol))
    trajectories = []
    for number in ("1", "2"):
        this = Session(session.output / number, None, session.execution, Console())
        this.output.mkdir()
        strategy = "auto" if number == "1" else "ddp"
        arguments = command(protocol, this.output, "--devices", number, "--strategy", strategy)
        if number == "2":
            arguments.insert(arguments.index("run"), "--no-process-setup")
        subprocess.run(arguments, env=ONE_THREAD, check=True, capture_output=True)
        trajectories.append(read_rows(this.folder(cell).trajectory))
    settings = TrainingRecord.load(this.folder(cell).training).execution.process
    assert set(settings.values()) == {"off: --no-process-setup"}  # the option reaches the group
    for one, two in zip(*trajectories, strict=True):
        assert one["validation_loss"] == pytest.approx(two["validation_loss"], rel=1e-4)
        for column in ("validation_accuracy", "familiar_accuracy"):
            assert one[column] == pytest.approx(two[column], abs=1e-6)
        assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-4)
