"""Runs that are stopped by signals: exit codes, what is saved, and the same bits in the end."""

import random
import signal
import subprocess
import time

import pytest
import torch

from capsbench.records import TrainingRecord
from capsbench.running.plan import plan
from capsbench.schema import Benchmark
from tests.running.conftest import ONE_THREAD

CODES = {"SIGINT": 130, "SIGTERM": 143, "SIGHUP": 129, "SIGUSR1": 138, "SIGUSR2": 140}
STEPS = 150


@pytest.fixture
def protocol(tiny_protocol):
    """One cell of a CNN."""
    recipe = {**tiny_protocol["recipe"], "steps": STEPS, "batch_size": 48, "evaluate_every": 10}
    model = {"name": "cnn-small", "arguments": {"width": 16, "hidden": 64}}
    return {**tiny_protocol, "models": [model], "seeds": [0], "recipe": recipe}


def stopped_at(process, state, after, number, limit=240):
    """Send a signal when a training has saved a state after a moment; return the exit code."""
    deadline = time.monotonic() + limit
    while not (state.is_file() and state.stat().st_mtime > after):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    time.sleep(random.uniform(0, 0.2))
    process.send_signal(number)
    return process.wait(timeout=120)


def step_of(state):
    return torch.load(state, weights_only=True)["global_step"]


@pytest.mark.slow
@pytest.mark.parametrize(
    "options", [("--workers", "0"), (), ("--devices", "2")], ids=["here", "pool", "group"]
)
def test_a_run_that_each_signal_stops_ends_with_the_same_bits(
    run, protocol, session, command, options
):
    (cell,) = plan(Benchmark.model_validate(protocol))
    words = command(protocol, session.output, *options)
    state = session.folder(cell).state
    steps = []
    for name, code in CODES.items():
        started = time.time()
        process = subprocess.Popen(
            words, env=ONE_THREAD, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        assert stopped_at(process, state, started, getattr(signal, name)) == code
        assert "the same command continues" in process.communicate()[1]
        steps.append(step_of(state))
    assert steps == sorted(set(steps))
    assert any(step % 10 for step in steps), "no stop between two regular states"
    subprocess.run(words, env=ONE_THREAD, check=True, capture_output=True)
    assert not state.exists()
    assert not session.folder(cell).failure.exists()
    undisturbed = session.output / "undisturbed"
    undisturbed.mkdir()
    reference = command(protocol, undisturbed, *options)
    subprocess.run(reference, env=ONE_THREAD, check=True, capture_output=True)
    one = TrainingRecord.load(session.folder(cell).training)
    other = TrainingRecord.load(undisturbed / cell.path / "training.json")
    assert one.weights == other.weights
