"""Threads: those of the protocol for trainings and measures, whatever the process has."""

import json

import pytest
import torch

from capsbench.executors import template
from capsbench.records import CellFolder
from capsbench.records.cell_files import load_measure, load_training
from capsbench.running import __main__ as entry
from capsbench.running import measure_job
from capsbench.running.plan import plan
from capsbench.schema import Benchmark


@pytest.fixture
def protocol(tiny_protocol):
    """A network whose sums two threads divide otherwise than one."""
    model = {"name": "cnn-small", "label": "CNN", "arguments": {"width": 16, "hidden": 160}}
    return {**tiny_protocol, "models": [model], "seeds": [0]}


def trained(run, folder, protocol, threads):
    """Return the weights, the measured values and the named devices of a run."""
    torch.set_num_threads(threads)
    ((cell,), _) = run(protocol, output=folder)
    assert torch.get_num_threads() == threads
    files = CellFolder(folder / cell.path)
    training = load_training(files)
    records = [load_measure(files, name) for name in cell.measures]
    devices = {training.execution.device_name, *(record.device for record in records)}
    values = json.dumps([[value.value for value in record.values] for record in records])
    return training.weights, values, devices


def test_threads_of_the_protocol_decide_and_not_those_of_the_process(run, tmp_path, protocol):
    one = trained(run, tmp_path / "one", protocol, 1)
    again = trained(run, tmp_path / "again", protocol, 2)
    two = trained(run, tmp_path / "two", {**protocol, "threads": 2}, 1)
    assert again == one
    assert [name.rpartition(", ")[2] for name in one[2]] == ["1 thread"]
    assert two[0] != one[0]
    assert [name.rpartition(", ")[2] for name in two[2]] == ["2 threads"]


@pytest.mark.parametrize(("device", "stated", "used"), [("cpu", 3, 3), ("cuda", 3, 1)])
def test_a_cell_is_measured_on_a_processor_with_its_own_threads_or_one(
    device, stated, used, session, protocol, monkeypatch
):
    """A cell that was trained on an accelerator has none."""
    monkeypatch.setattr(measure_job, "_diverged", lambda _: False)
    monkeypatch.setattr(measure_job, "_measure", lambda *_: {"threads": torch.get_num_threads()})
    torch.set_num_threads(2)
    (cell,) = plan(Benchmark.model_validate({**protocol, "threads": stated}), device=device)
    assert measure_job.measure_cell(cell, session) == {"threads": used}
    assert torch.get_num_threads() == 2


def test_a_forked_worker_on_an_accelerator_has_its_share_of_the_cores(monkeypatch):
    """Its libraries were loaded before the variable was set."""
    monkeypatch.setattr(template, "become_worker", lambda _: True)
    monkeypatch.setattr(entry, "_serve", lambda: None)
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    before = torch.get_num_threads()
    try:
        entry._serve_as_template(0, [])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)
