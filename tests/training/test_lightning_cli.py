"""Trainings by LightningCLI: a configuration file, the data's image shape, its checkpoints."""

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from pytorch_lightning.cli import LightningCLI

from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.files.yaml import parse_yaml, write_yaml
from capsbench.names import find, table
from capsbench.training.task import Task
from capsbench.viewpoint.ranges import ViewRange

pytest.importorskip("jsonargparse")

PROGRAM = """
from capsbench.datamodules.digits import Digits
from capsbench.training.cli import TaskCLI
from capsbench.training.task import Task

if __name__ == "__main__":
    TaskCLI(Task, Digits)
"""
CONFIG = """
seed_everything: 1
trainer:
  max_steps: 5
  accelerator: cpu
  enable_progress_bar: false
model:
  model: {class_path: capsbench.models.cnn_small.CNNSmall, init_args: {width: 4}}
  recipe: {learning_rate: 0.002, schedule: cosine}
data:
  batch_size: 25
  limit: 100
  views: {rotation: [-15, 15], scale: {values: [1, 0.5]}}
  augmentation: [RandomErasing, {RandomInvert: {p: 0.2}}]
"""
ROOT = Path(__file__).parents[2]


def test_a_program_trains_from_a_configuration(tmp_path):
    (tmp_path / "train.py").write_text(PROGRAM)
    (tmp_path / "config.yaml").write_text(CONFIG)
    done = subprocess.run(
        [sys.executable, "train.py", "fit", "--config", "config.yaml", "--data.limit", "50"],
        cwd=tmp_path, env={"PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    (path,) = tmp_path.rglob("*.ckpt")
    assert torch.load(path, weights_only=True)["global_step"] == 5
    task = Task.load_from_checkpoint(path)
    assert task.recipe.learning_rate == 0.002
    assert task.model.constructor_arguments().items() >= {
        "image_shape": [1, 32, 32], "num_classes": 10, "width": 4
    }.items()  # fmt: skip
    (used,) = tmp_path.rglob("version_0/config.yaml")
    assert parse_yaml(used.read_text())["data"]["limit"] == 50


@pytest.fixture
def parse(monkeypatch):
    # Lightning calls functions that jsonargparse deprecates.
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    from capsbench.training.cli import TaskCLI

    class ParsedOnly(TaskCLI):
        def instantiate_classes(self):
            pass

    monkeypatch.setattr(sys, "argv", ["train.py"])

    def parse(*arguments):
        return ParsedOnly(
            Task, ImageDataModule, subclass_mode_data=True, run=False, args=[*arguments],
            seed_everything_default=False,
        )  # fmt: skip

    return parse


def path_of(kind, name):
    target = find(kind, name)
    return f"{target.module}.{target.attribute}"


@pytest.mark.parametrize("kind", ["models", "datamodules"])
def test_every_model_and_data_set_has_arguments(parse, kind):
    for name in table(kind):
        chosen = {"models": "cnn-small", "datamodules": "digits"} | {kind: name}
        arguments = ["--data.path", "images"] if name == "folder" else []
        model, data = (path_of(kind, name) for kind, name in chosen.items())
        cli = parse("--model.model", model, "--data", data, *arguments)
        assert cli.config.model.model.class_path.endswith(model.rpartition(".")[2])
        assert cli.config.data.class_path.endswith(data.rpartition(".")[2])


def test_views_and_augmentations_are_written_as_in_benchmark_files(parse, tmp_path):
    config = parse_yaml(CONFIG)
    config["data"] = {"class_path": path_of("datamodules", "digits"), "init_args": config["data"]}
    (tmp_path / "config.yaml").write_text(write_yaml(config))
    data = parse("--config", str(tmp_path / "config.yaml")).config.data.init_args
    assert data.views == ViewRange(rotation=(-15, 15), scale={"values": [1, 0.5]})
    assert [str(operation) for operation in data.augmentation] == [
        "RandomErasing",
        "RandomInvert(p=0.2)",
    ]


def test_a_function_is_no_class_of_models(parse, capsys):
    arguments = ["--data", path_of("datamodules", "digits")]
    with pytest.raises(SystemExit):
        parse("--model.model", "torchvision.models.resnet18", *arguments)
    assert '"model.model"' in capsys.readouterr().err


def test_a_plain_cli_takes_image_shape_and_classes_from_the_file(tmp_path, monkeypatch):
    config = parse_yaml(CONFIG)
    config["model"]["model"]["init_args"] |= {"image_shape": [1, 32, 32], "num_classes": 10}
    config["data"] = {"limit": 50}
    config.pop("seed_everything")
    (tmp_path / "config.yaml").write_text(write_yaml(config))
    monkeypatch.setenv("JSONARGPARSE_DEPRECATION_WARNINGS", "off")
    monkeypatch.setattr(sys, "argv", ["train.py"])
    cli = LightningCLI(
        Task, find("datamodules", "digits").load(), run=False, seed_everything_default=False,
        save_config_callback=None, trainer_defaults={"logger": False},
        args=["--config", str(tmp_path / "config.yaml")],
    )  # fmt: skip
    assert cli.model.model.image_shape == (1, 32, 32)
    assert cli.datamodule.limit == 50


def test_the_extra_is_named_without_jsonargparse(monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonargparse.typing", None)
    monkeypatch.delitem(sys.modules, "capsbench.training.cli", raising=False)
    with pytest.raises(UserError, match=r"pip install 'capsbench\[lightning-cli\]'"):
        importlib.import_module("capsbench.training.cli")


def test_a_wrong_view_is_refused_by_its_forms(parse, capsys):
    arguments = ["--data", path_of("datamodules", "digits"), "--data.views", "{rotation: [1]}"]
    with pytest.raises(SystemExit):
        parse("--model.model", path_of("models", "cnn-small"), *arguments)
    assert "expected [low, high], a number" in capsys.readouterr().err
