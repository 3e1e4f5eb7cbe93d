"""A finished benchmark, and its exported record."""

import pytest
from rich.console import Console

from capsbench.records import ProtocolChanges
from capsbench.reporting.exports.export import export_benchmark
from capsbench.running.benchmark import run_benchmark
from capsbench.running.plan import plan
from capsbench.running.session import Session
from capsbench.schema import load_benchmark
from capsbench.training.execution import Execution

CHANGES = {"recipe.steps": 4, "recipe.evaluate_every": 2, "recipe.limit": 40, "seeds": [0, 1, 2]}


@pytest.fixture(scope="package")
def folder(tmp_path_factory):
    """The benchmark quick, made small by changes as the command line makes them."""
    runs = tmp_path_factory.mktemp("runs")
    benchmark = load_benchmark("quick", CHANGES)
    session = Session(runs, None, Execution(device="cpu", wandb="off"), Console())
    run_benchmark(
        benchmark,
        plan(benchmark, models=["CNN", "CapsNet (dynamic routing)"]),
        session,
        changes=ProtocolChanges(settings=CHANGES),
        command=f"capsbench run quick --output {runs} --data-root=/somewhere --limit 40",
    )
    return runs / "quick"


@pytest.fixture
def file(folder, tmp_path):
    return export_benchmark(folder, tmp_path / "results")
