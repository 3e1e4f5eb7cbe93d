"""Trainings in a group of two processes (DDP over gloo)."""

import platform
import subprocess

import pytest

from capsbench.files.atomic import read_rows
from capsbench.records import CellFolder, MeasureRecord, TrainingRecord
from capsbench.running.plan import plan
from capsbench.schema import Benchmark
from tests.running.conftest import ONE_THREAD

ON_GLIBC = "on" if platform.libc_ver()[0] == "glibc" else "off: only the C library glibc"


@pytest.mark.slow  # tests/training/test_several_processes.py compares losses in the fast suite
def test_two_processes_learn_as_one(run, tiny_protocol, tiny_file, session, command):
    """Without dropout, the same global batches give the same weights up to rounding.

    Each process trains on half of a batch, nothing is counted twice, one record is left.
    """
    models = [{"name": f"{tiny_file}:Tiny", "arguments": {"rate": 0.0}}]
    protocol = {**tiny_protocol, "seeds": [0], "models": models, "follow": ["familiar"]}
    one = session.output / "one"
    ((cell,), _) = run(protocol, output=one)
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
    assert MeasureRecord.load(folder.measure(name)).image_counts == {100}
    assert len(list(folder.path.rglob("training.json"))) == 1
    alone_record = TrainingRecord.load(CellFolder(one / cell.path).training)
    for rule, selected in training.selected.items():  # fitted on the images of both processes
        expected = alone_record.selected[rule].probability_exponent
        assert selected.probability_exponent == pytest.approx(expected, rel=1e-3)
    trajectories = [read_rows(CellFolder(one / cell.path).trajectory), read_rows(folder.trajectory)]
    assert len(trajectories[0]) == 3
    for alone, shared in zip(*trajectories, strict=True):
        assert alone["validation_loss"] == pytest.approx(shared["validation_loss"], rel=1e-4)
        for column in ("validation_accuracy", "familiar_accuracy"):
            assert alone[column] == pytest.approx(shared[column], abs=1e-6)
        assert alone["train_loss"] == pytest.approx(shared["train_loss"], rel=1e-4)


@pytest.mark.slow
def test_no_process_setup_reaches_the_group(tiny_protocol, session, command):
    protocol = {**tiny_protocol, "seeds": [0]}
    (cell,) = plan(Benchmark.model_validate(protocol))
    arguments = command(protocol, session.output, "--devices", "2", "--strategy", "ddp")
    arguments.insert(arguments.index("run"), "--no-process-setup")
    # In an allocation, but not by srun, which would have started two.
    slurm = {"SLURM_JOB_ID": "7", "SLURM_NTASKS": "2", "SLURM_PROCID": "0", "SLURM_JOB_NAME": "x"}
    subprocess.run(arguments, env=ONE_THREAD | slurm, check=True, capture_output=True, timeout=300)
    settings = TrainingRecord.load(session.folder(cell).training).execution.process
    assert set(settings.values()) == {"off: --no-process-setup"}
