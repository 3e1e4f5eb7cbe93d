"""Curves as files: what a training logs, also one that was killed and resumed."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from capsbench.errors import UserError
from capsbench.names import find
from capsbench.training import execution
from capsbench.training.execution import Execution, make_execution
from capsbench.training.loggers import make_loggers
from capsbench.training.recipe import ProtocolRecipe
from capsbench.training.train import train
from capsbench.viewpoint.ranges import ViewRange

RECIPE = ProtocolRecipe(
    steps=14, batch_size=24, learning_rate=0.01, evaluate_every=5, limit=90, schedule="cosine"
)
STEPS = list(range(1, 15))
VALIDATIONS = [5, 10, 14]


class Killed(Exception):
    """Simulates a killed process."""


@pytest.fixture
def run(tiny_file):
    tiny = find("models", f"{tiny_file}:Tiny").load()
    digits = find("datamodules", "digits").load()

    def run(folder: Path, kill_at: int | None = None):
        def on_step(step):
            if step == kill_at:
                raise Killed

        return train(
            lambda: tiny(image_shape=(1, 32, 32), num_classes=10),
            digits(views=ViewRange(rotation=(-15, 15)), batch_size=24, seed=0, limit=90),
            RECIPE,
            Execution(device="cpu"),
            seed=0,
            state=folder / "state.ckpt",
            loggers=make_loggers(["tensorboard", "csv"], folder),
            on_step=on_step,
            on_rows=lambda rows: None,
        )

    return run


def csv_curves(folder: Path) -> dict[str, list[tuple[int, float]]]:
    rows = list(csv.DictReader((folder / "csv/metrics.csv").read_text().splitlines()))
    names = [name for name in rows[0] if name not in ("step", "epoch")]
    return {
        name: [(int(row["step"]), float(row[name])) for row in rows if row[name]] for name in names
    }


def events(folder: Path) -> dict[str, list[tuple[int, float]]]:
    read = EventAccumulator(str(folder / "tensorboard"))
    read.Reload()
    names = [name for name in read.Tags()["scalars"] if name != "epoch"]
    return {name: [(each.step, each.value) for each in read.Scalars(name)] for name in names}


def test_both_kinds_have_the_curves_of_the_training(run, tmp_path):
    result = run(tmp_path)
    curves = csv_curves(tmp_path)
    assert [step for step, _ in curves["train_loss"]] == STEPS
    assert [step for step, _ in curves["learning_rate"]] == STEPS
    assert curves["learning_rate"][0] == (1, 0.01)
    expected = [(int(row["step"]), row["validation_accuracy"]) for row in result.rows]
    assert curves["validation_accuracy"] == expected
    assert [step for step, _ in expected] == VALIDATIONS
    for name, points in events(tmp_path).items():
        assert [step for step, _ in points] == [step for step, _ in curves[name]]
        assert [y for _, y in points] == pytest.approx([y for _, y in curves[name]])


@pytest.mark.parametrize("kill_at", [3, 7, 12])
def test_a_resumed_training_continues_its_curves(run, tmp_path, kill_at):
    run(tmp_path / "whole")
    with pytest.raises(Killed):
        run(tmp_path / "killed", kill_at=kill_at)
    run(tmp_path / "killed")
    assert csv_curves(tmp_path / "killed") == csv_curves(tmp_path / "whole")
    assert events(tmp_path / "killed") == events(tmp_path / "whole")


def test_loggers_are_checked(monkeypatch):
    assert make_execution(loggers=("csv", "tensorboard")).loggers == ("csv", "tensorboard")
    with pytest.raises(UserError, match=r"'tensorboard' or 'csv' \(got 'wandb'\)"):
        make_execution(loggers=("wandb",))
    monkeypatch.setattr(execution, "find_spec", lambda _: None)
    assert make_execution(loggers=("csv",)).loggers == ("csv",)
    with pytest.raises(UserError, match=r"pip install 'capsbench\[tensorboard\]'"):
        make_execution(loggers=("tensorboard",))


@pytest.mark.parametrize("name", ["", "a/b", "a:b", "x" * 129, " a"])
def test_names_of_projects_are_checked(name):
    with pytest.raises(UserError, match="at most 128 characters"):
        make_execution(wandb_project=name)


def test_tags_are_checked():
    with pytest.raises(UserError, match="wandb_tags"):
        make_execution(wandb_tags=("x" * 65,))
