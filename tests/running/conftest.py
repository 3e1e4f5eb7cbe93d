"""Fixtures of the tests of running: a session, and a run of a protocol in this process."""

import os
import sys
from pathlib import Path

import pytest
from rich.console import Console

from capsbench.files.yaml import write_yaml
from capsbench.records import ProtocolChanges
from capsbench.running.benchmark import run_benchmark
from capsbench.running.plan import plan
from capsbench.running.session import Session
from capsbench.schema import Benchmark
from capsbench.training.execution import Execution

ONE_THREAD = {**os.environ, "OMP_NUM_THREADS": "1"}


@pytest.fixture
def session(tmp_path):
    """A session on the CPU that writes to a temporary folder."""
    return Session(tmp_path, None, Execution(device="cpu", wandb="off"), Console())


@pytest.fixture
def run(session):
    """Run a protocol; returns its cells, and the times at which the trainings were recorded."""

    def run(protocol, *, models=None, output=None, **execution):
        benchmark = Benchmark.model_validate(protocol)
        cells = plan(benchmark, models=models)
        changed = session.execution.model_copy(update=execution)
        this = Session(output or session.output, None, changed, session.console)
        page, failed = run_benchmark(
            benchmark, cells, this, changes=ProtocolChanges(), command="a test"
        )
        assert not failed
        assert page is not None
        assert page.is_file()
        times = {cell.path: this.folder(cell).training.stat().st_mtime_ns for cell in cells}
        return cells, times

    return run


@pytest.fixture
def command():
    """The command line that runs a protocol in a separate process."""

    def command(protocol, folder, *options):
        path = Path(folder, "tiny.yaml")
        path.write_text(write_yaml(protocol))
        return [
            sys.executable, "-m", "capsbench", "run", str(path), "--output", str(folder),
            "--device", "cpu", "--wandb", "off", "--trust-code", *options,
        ]  # fmt: skip

    return command
