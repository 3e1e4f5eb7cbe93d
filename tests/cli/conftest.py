"""The command line in this process, and a benchmark that trains in a moment."""

import json
import shutil
import sys
from pathlib import Path

import pytest

from capsbench.cli import main

TINY = """\
name: tiny
version: 1
title: A tiny benchmark
question: Does it run?
source: made for a test
data: {name: digits}
views: {rotation: [-15, 15]}
models:
  - {name: cnn-small, label: small, arguments: {width: 2, hidden: 4}}
  - {name: cnn-small, label: smaller, arguments: {width: 1, hidden: 2}}
recipe: {steps: 4, batch_size: 16, evaluate_every: 2}
seeds: [0, 1]
measures:
  - {measure: accuracy-by-view, grid: {rotation: {start: -90, stop: 90, step: 90}}}
"""


@pytest.fixture
def tiny(tmp_path, monkeypatch):
    """The benchmark's file, alone in the working directory."""
    monkeypatch.chdir(tmp_path)
    Path("tiny.yaml").write_text(TINY, encoding="utf-8")
    return "tiny.yaml"


@pytest.fixture(scope="session")
def trained_runs(tmp_path_factory):
    """The runs folder after both models were trained with seed 0; copy it before use."""
    folder = tmp_path_factory.mktemp("trained")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        Path("tiny.yaml").write_text(TINY, encoding="utf-8")
        line = "run tiny.yaml --seeds 0 --device cpu --wandb off --workers 0"
        assert main(line.split()) == 0
    return folder / "runs"


@pytest.fixture
def cells(tiny, trained_runs):
    """Folders of the two finished trainings in the working directory, by label."""
    shutil.copytree(trained_runs, "runs")
    record = json.loads(Path("runs/tiny/benchmark.json").read_text("utf-8"))
    return {cell["label"]: Path("runs", cell["path"]) for cell in record["cells"]}


@pytest.fixture
def cli(capsys, monkeypatch):
    """Run the command line here; return exit code, stdout (parsed with ``--json``) and stderr."""

    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["capsbench", *arguments])
        code = main()
        out, err = capsys.readouterr()
        return code, json.loads(out) if "--json" in arguments and not code else out, err

    return call


@pytest.fixture
def refusal(cli):
    """Run a command that must be refused: exit code 2 and one line on stderr, which is returned."""

    def call(*arguments):
        code, out, err = cli(*arguments)
        assert code == 2
        assert not out or (out.count("\n") == 1 and ": planning; " in out)  # before the imports
        assert err.startswith("capsbench: error: ")
        assert err.endswith("\n")
        assert err.count("\n") == 1
        assert "Traceback" not in err
        return err

    return call
