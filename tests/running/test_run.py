"""`capsbench.run`: the command line's run, from Python."""

import shlex
import signal
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import capsbench
from capsbench.cli import main
from capsbench.errors import UserError
from capsbench.files.yaml import write_yaml
from capsbench.records import ProtocolChanges
from capsbench.reporting.loading import BenchmarkResults
from capsbench.running.benchmark import RunOutcome

QUIET: dict[str, Any] = {"device": "cpu", "wandb": "off"}


@pytest.fixture
def tiny(tiny_protocol, tmp_path, monkeypatch):
    """The file of a benchmark in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(write_yaml(tiny_protocol), "utf-8")
    return "tiny.yaml"


def test_a_run_returns_its_results_and_repeats_nothing(tiny, capsys):
    results = capsbench.run(tiny, models="Tiny", seeds=range(1), limit=50, output="there", **QUIET)
    assert isinstance(results, BenchmarkResults)
    assert results.page == Path("there/tiny/report/index.html")
    assert results.page.is_file()
    assert {(row["label"], row["seed"]) for row in results.rows()} == {("Tiny", 0)}
    assert "already done" not in capsys.readouterr().out
    record = results.records.record
    protocol = "capsbench run tiny.yaml --models Tiny --seeds 0 --limit 50"
    assert record.command == f"{protocol} --output there --device cpu --wandb off"
    assert record.changes == ProtocolChanges(
        models=("Tiny",), settings={"seeds": [0], "recipe.limit": 50}
    )
    again = capsbench.run(Path(tiny), seeds=[0], limit=50, output=Path("there"), **QUIET)
    assert "already done" in capsys.readouterr().out
    assert again.rows() == results.rows()
    assert capsbench.load_results("there", "tiny").rows() == results.rows()


def test_the_recorded_command_runs_the_same_protocol(tiny, tiny_file, monkeypatch):
    given: list[Any] = []

    def record(name, changes, session, command):
        given.append((name, changes, session, command))
        return RunOutcome(Path("runs/tiny/report/index.html"), failed=False)

    monkeypatch.setattr("capsbench.running.run.run_protocol", record)
    monkeypatch.setattr("capsbench.running.run.load_results", given.append)
    capsbench.run(
        tiny,
        models=["Tiny", f"+{{name: '{tiny_file}:Tiny', label: Other, arguments: {{rate: 0}}}}"],
        seeds=np.arange(2),
        settings={
            "recipe.learning_rate": 1e-5,
            "views.rotation": (-30, 30),
            "title": "A: 'b'",
            "matched": None,
        },
        limit=50,
        search=True,
        data_root=".",
        output="my runs",
        checkpoint_every=7,
        profile=True,
        loggers=["csv", "tensorboard"],
        wandb_project="views",
        wandb_tags=["a", "b"],
        wandb_artifacts=True,
        executor="slurm",
        slurm="cluster=local,time=30",
        workers=3,
        retries=0,
        retry="failed",
        **QUIET,
    )
    assert given.pop() == Path("runs/tiny")
    ((name, changes, session, command),) = given
    assert changes.settings == {
        "recipe.learning_rate": 1e-5,
        "views.rotation": [-30, 30],
        "title": "A: 'b'",
        "matched": None,
        "seeds": [0, 1],
        "recipe.limit": 50,
    }
    assert (changes.models, [entry.label for entry in changes.added]) == (("Tiny",), ["Other"])
    monkeypatch.setattr("capsbench.running.protocol.run_protocol", record)
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    assert main() == 0
    _, again = given
    assert (again[0], again[1], again[3]) == (name, changes, command)
    for setting in ("output", "data_root", "execution", "options", "retry_failed"):
        assert getattr(again[2], setting) == getattr(session, setting)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"benchmark": "quik"}, "did you mean 'quick'"),
        ({"models": "Tiy"}, "did you mean 'Tiny'"),
        ({"models": ["+"]}, "adds a model"),
        ({"models": 3}, "models: .*names .*got 3"),
        ({"models": ["Tiny", 3]}, "models: .*names"),
        ({"slurm": 30, "executor": "slurm"}, "slurm: .*expected"),
        ({"retry": "all"}, "retry: .*'failed'"),
        ({"seeds": 3}, r"seeds: .*range\(5\), got 3"),
        ({"seeds": [0.5]}, "whole numbers"),
        ({"settings": {"recipe.stepz": 5}}, "did you mean 'steps'"),
        ({"settings": {"recipe.steps": object()}}, "recipe.steps: .*object"),
        ({"limit": 0}, "limit"),
        ({"scale": "small"}, "scale"),
        ({"scale": 3}, "scale: .*got 3"),
        ({"settings": [("recipe.steps", 5)]}, "settings: .*mapping"),
        ({"device": "gpu"}, "device: .*'gpu'"),
        ({"data_root": "nowhere"}, "no folder 'nowhere'"),
        ({"output": "tiny.yaml"}, "'tiny.yaml' is a file"),
        ({"benchmark": "claims", "seeds": [0]}, "claims"),
    ],
)
def test_bad_input_is_a_user_error_before_anything_is_written(tiny, arguments, words):
    with pytest.raises(UserError, match=words):
        capsbench.run(**({"benchmark": tiny} | QUIET | arguments))
    assert list(Path().iterdir()) == [Path(tiny)]


def test_a_process_of_a_cluster_is_sent_to_the_command(tiny, monkeypatch):
    for name, value in {"TORCHELASTIC_RUN_ID": "x", "WORLD_SIZE": "2", "RANK": "1"}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="torchrun"):
        capsbench.run(tiny, devices=2, **QUIET)


def test_an_interrupt_reaches_the_caller_and_the_next_one_too(tiny, monkeypatch):
    monkeypatch.setattr(
        "capsbench.running.train_job.write_rows",
        lambda *_: signal.raise_signal(signal.SIGINT),
    )
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt):
        capsbench.run(tiny, seeds=[0], workers=0, **QUIET)
    assert signal.getsignal(signal.SIGINT) is before
