"""`capsbench run`: options, dry run, interruption and profile."""

import json
import os
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path
from subprocess import PIPE
from typing import Any

import pytest

from capsbench.cli import STOPPED
from capsbench.cli.run import parse_seeds
from capsbench.process import active_settings
from capsbench.records import ProtocolChanges, TrainingRecord
from capsbench.running.benchmark import RunOutcome
from capsbench.training.execution import Execution


@pytest.mark.parametrize(
    ("text", "seeds"),
    [("0", [0]), ("0,1", [0, 1]), ("0-4", [0, 1, 2, 3, 4]), ("7, 2-3", [7, 2, 3])],
)
def test_seeds(text, seeds):
    assert parse_seeds(text) == seeds


def test_a_dry_run_lists_the_cells_and_writes_nothing(cli, tiny):
    code, cells, _ = cli(
        "run", tiny, "--models", "smaller", "--seeds", "3-4", "--dry-run", "--json"
    )
    assert code == 0
    assert [(cell["label"], cell["model"], cell["seed"]) for cell in cells] == [
        ("smaller", "cnn-small", 3),
        ("smaller", "cnn-small", 4),
    ]
    for cell in cells:
        assert cell["state"] == "to do"
        assert cell["folder"].startswith(f"runs/digits/cnn-small/{cell['seed']}-")
        assert cell["training_seconds"] > 0
        assert cell["disk_bytes"] > 0
        assert cell["vote_bytes"] == 0
    code, text, _ = cli("run", tiny, "--dry-run")
    assert code == 0
    assert text.count("to do") == 5  # four cells, and the sum
    assert "4 trainings to do" in text
    assert "expected time" not in text  # the file states none
    assert list(Path().iterdir()) == [Path(tiny)]


def test_a_dry_run_of_a_search_lists_its_trials(cli, tiny):
    line = ["run", tiny, "--models", "smaller", "--set", "search.trials=2", "--search"]
    _, cells, _ = cli(*line, "--dry-run", "--json")
    assert [cell["seed"] for cell in cells] == [1000, 1000, 0, 1]
    assert len({cell["folder"] for cell in cells}) == 4


def test_options_reach_the_run(cli, tiny, monkeypatch):
    given: dict[str, Any] = {}

    def run_benchmark(benchmark, cells, session, **rest):
        given.update(rest, benchmark=benchmark, cells=cells, session=session)
        return RunOutcome(None, failed=False)

    monkeypatch.setattr("capsbench.running.protocol.run_benchmark", run_benchmark)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    monkeypatch.setattr("capsbench.running.session.usable_mode", lambda mode: mode)
    line = (
        "run tiny.yaml --models small,smaller --seeds 5 --set recipe.steps=500 "
        "--set recipe.optimizer=sgd --limit 100 --output there --device cpu --devices 2 "
        "--strategy ddp --backend textbook --checkpoint-every 7 --profile --wandb online "
        "--wandb-project views --wandb-entity lab --wandb-tags a,b --wandb-artifacts "
        "--logger csv --logger tensorboard --data-root ."
    )
    code, _, err = cli(*line.split())
    assert (code, err) == (0, "")
    benchmark, session = given["benchmark"], given["session"]
    assert (benchmark.recipe.steps, benchmark.recipe.limit, benchmark.seeds) == (500, 100, (5,))
    assert given["changes"] == ProtocolChanges(
        settings={
            "recipe.steps": 500,
            "recipe.optimizer": "sgd",
            "seeds": [5],
            "recipe.limit": 100,
        },
        models=("small", "smaller"),
    )
    assert given["command"] == f"capsbench {line}"
    assert given["search"] is None
    assert (session.output, session.data_root) == (Path("there"), Path())
    assert [(cell.label, cell.seed) for cell in given["cells"]] == [("small", 5), ("smaller", 5)]
    assert session.execution == Execution(
        device="cpu",
        devices=2,
        strategy="ddp",
        backend="textbook",
        checkpoint_every=7,
        profile=True,
        loggers=("csv", "tensorboard"),
        wandb="online",
        wandb_project="views",
        wandb_entity="lab",
        wandb_tags=("a", "b"),
        wandb_artifacts=True,
    )


def test_an_interrupted_run_is_resumed_and_reported(cli, tiny):
    line = shlex.split(
        "run tiny.yaml --models small --seeds 0 --limit 100 --set recipe.steps=400 "
        "--set recipe.evaluate_every=200 --checkpoint-every 10 --device cpu --wandb off"
    )
    # One thread: two that wait for each other on busy cores are ten times slower.
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "capsbench", *line]
    process = subprocess.Popen(command, stdout=PIPE, stderr=PIPE, text=True, env=environment)
    try:
        deadline = time.monotonic() + 120
        while not list(Path().rglob("state.ckpt")):
            assert process.poll() is None, process.communicate()
            assert time.monotonic() < deadline
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130
    assert err.splitlines()[-1] == f"stopped; {STOPPED['run']}"
    assert "Traceback" not in err
    assert [cell["state"] for cell in cli(*line, "--dry-run", "--json")[1]] == ["resumable"]

    code, text, err = cli(*line)
    assert code == 0, err
    page = Path("runs/tiny/report/index.html")
    assert f"page: {page.resolve().as_uri()}\n" in text
    record = json.loads(Path("runs/tiny/benchmark.json").read_bytes())
    assert record["changes"]["models"] == ["small"]
    assert record["command"] == shlex.join(["capsbench", *line])
    assert [cell["state"] for cell in cli(*line, "--dry-run", "--json")[1]] == ["done"]
    page.unlink()
    assert cli("report") == (0, f"page: {page.resolve().as_uri()}\n", "")
    assert page.is_file()


def test_the_place_of_a_profile_is_printed(cli, tiny):
    line = "run tiny.yaml --models smaller --seeds 0 --limit 50 --device cpu --wandb off --profile"
    code, text, err = cli(*line.split())
    assert (code, err) == (0, "")
    (trace,) = Path("runs").rglob("trace.json.gz")
    folder = trace.parent
    assert f"profile: {folder / 'operations.txt'}" in text
    assert str(trace) in text
    assert (folder / "operations.txt").read_text().startswith("steps 1 to 4 of 4 on cpu")
    training = TrainingRecord.load(folder.parent / "training.json")
    assert training.execution.profile
    assert training.execution.process == active_settings()
    code, text, _ = cli(*line.split())
    assert code == 0
    assert "no profile" in text
    assert "trained before" in text
