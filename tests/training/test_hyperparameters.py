"""Hyperparameters of tasks: plain in checkpoints, and enough to build the model again."""

import importlib
import sys
from typing import Any

import pytest
import torch
from pytorch_lightning import Trainer
from torch import nn

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.names import find
from capsbench.training.hyperparameters import plain_hyperparameters, restored_model
from capsbench.training.recipe import Recipe
from capsbench.training.task import Task
from capsbench.wrapping import model_class


class Plain(nn.Sequential):
    """Logits of grey images, without any part of the contract."""

    def __init__(self):
        super().__init__(nn.Flatten(), nn.BatchNorm1d(1024), nn.Linear(1024, 10))


class WithFunction(Model):
    """A model with an argument that has no plain value."""

    def __init__(self, *, image_shape, num_classes, activation=torch.relu):
        super().__init__(image_shape=image_shape, num_classes=num_classes)
        self.body, self.activation = Plain(), activation

    def forward(self, images, views=None):
        return self.body(images)

    def loss(self, prediction, batch, progress):
        return prediction.sum()


@pytest.fixture
def digits():
    return find("datamodules", "digits").load()(batch_size=10, limit=30)


@pytest.fixture
def saved(tmp_path, digits):
    """Train a task for a few steps; return its checkpoint, and its loss and accuracy."""

    def saved(model, recipe):
        task = Task(model, recipe, seed=3)
        trainer = Trainer(
            max_steps=4, accelerator="cpu", logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False,
        )  # fmt: skip
        trainer.fit(task, datamodule=digits)
        trainer.save_checkpoint(tmp_path / "task.ckpt")
        return tmp_path / "task.ckpt", trainer.test(task, datamodule=digits, verbose=False)

    return saved


def scores_of(task, digits):
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    return trainer.test(task, datamodule=digits, verbose=False)


def test_a_checkpoint_is_plain_and_complete(saved, digits):
    # The loss of matrix capsules depends on the progress of the training.
    small = find("models", "capsnet-em-small").load()
    arguments = {
        "image_shape": digits.image_shape,
        "num_classes": 10,
        "types": (2, 2),
        "channels": 4,
    }
    recipe = Recipe(optimizer="adamw", learning_rate=0.01, schedule="cosine")
    path, scores = saved(small(**arguments), recipe)
    checkpoint = torch.load(path, weights_only=True)
    assert set(checkpoint["hyper_parameters"]) == {"model", "recipe", "seed"}
    model = checkpoint["hyper_parameters"]["model"]
    assert model["class_path"] == "capsbench.models.capsnet_em.CapsNetEMSmall"
    assert model["init_args"].items() >= {"image_shape": [1, 32, 32], "types": [2, 2]}.items()
    for weights_only in (None, True):
        loaded = Task.load_from_checkpoint(path, weights_only=weights_only)
        assert (loaded.recipe, loaded.seed, loaded.progress) == (recipe, 3, 1.0)
        assert loaded.model.image_shape == (1, 32, 32)
    assert scores_of(loaded, digits) == scores


def test_a_plain_module_is_wrapped_for_the_data_and_loaded_with_itself(saved, digits):
    path, scores = saved(Plain(), Recipe())
    hyperparameters = torch.load(path, weights_only=True)["hyper_parameters"]
    assert hyperparameters["model"]["class_path"].endswith("test_hyperparameters.Plain")
    with pytest.raises(UserError, match=r"Plain; pass it: .*model="):
        Task.load_from_checkpoint(path)
    loaded = Task.load_from_checkpoint(path, model=Plain())
    assert scores_of(loaded, digits) == scores


def test_a_plain_module_needs_a_data_module():
    task = Task(Plain())
    trainer = Trainer(accelerator="cpu", logger=False, enable_progress_bar=False)
    with pytest.raises(UserError, match=r"Plain is no .*LogitsModel"):
        trainer.predict(task, [torch.zeros(2, 1, 32, 32)])


def restored(model):
    return restored_model(plain_hyperparameters(model, Recipe(), 0)["model"])


def test_networks_of_libraries_and_of_imported_files_are_built(tiny_file):
    shape: dict[str, Any] = {"image_shape": (1, 32, 32), "num_classes": 7}
    for name in (f"{tiny_file}:Tiny", "cnn-small", "torchvision.models:shufflenet_v2_x0_5"):
        model = model_class(find("models", name))(**shape)
        again = restored(model)
        assert type(again) is type(model)
        assert again.state_dict().keys() == model.state_dict().keys()
        assert again.constructor_arguments() == model.constructor_arguments()


NET = """
from torch import nn

class Net(nn.Sequential):
    def __init__(self, num_classes):
        super().__init__(nn.Flatten(), nn.Linear(1024, num_classes))
"""


@pytest.mark.parametrize("name", ["Net", "Tiny"])
@pytest.mark.parametrize("imported", [True, False])
def test_a_model_of_a_file_is_saved_without_its_folder(
    name, imported, tiny_file, tmp_path, monkeypatch
):
    folders = [tmp_path / "here", tmp_path / "there"]
    for folder in folders:
        folder.mkdir()
        (folder / "own_net.py").write_text(NET + tiny_file.read_text())
    here, there = folders
    cls = model_class(find("models", f"{here}/own_net.py:{name}"))
    model = cls(image_shape=(1, 32, 32), num_classes=7)
    saved = plain_hyperparameters(model, Recipe(), 0)["model"]
    assert saved["class_path"] == f"own_net.py:{name}"
    assert type(restored_model(saved)) is cls

    def forget():
        for key in [key for key in sys.modules if "own_net" in key]:
            del sys.modules[key]

    forget()
    with pytest.raises(UserError, match=rf"own_net.py:{name} .*import its module .*model="):
        restored_model(saved)
    if imported:
        monkeypatch.syspath_prepend(str(there))
        importlib.import_module("own_net")
    else:
        model_class(find("models", f"{there}/own_net.py:{name}"))
    again = restored_model(saved)
    assert again.state_dict().keys() == model.state_dict().keys()
    assert plain_hyperparameters(again, Recipe(), 0)["model"]["init_args"] == saved["init_args"]
    model_class(find("models", f"{here}/own_net.py:{name}"))
    with pytest.raises(UserError, match="import"):  # one of two files
        restored_model(saved)
    forget()


def test_an_argument_without_a_plain_value_has_to_be_given_again():
    model = WithFunction(image_shape=(1, 32, 32), num_classes=10, activation=torch.sigmoid)
    with pytest.raises(UserError, match=r"arguments of its model .*WithFunction"):
        restored(model)


@pytest.mark.parametrize(
    "path",
    [
        *("os:system", "os.system", "subprocess.Popen", "subprocess:Popen", "this:s", "this.s"),
        *("never_imported.py:Net", "torch.nn.Linear", "capsbench.errors.UserError", "nothing"),
    ],
)
def test_a_checkpoint_builds_nothing_but_models_of_known_modules(path, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "never_imported.py").write_text("from pathlib import Path\nPath('ran').touch()\n")
    arguments = {"command": "touch ran", "args": ["touch", "ran"]}
    with pytest.raises(UserError, match=r"not among the imported models; import its module"):
        restored_model({"class_path": path, "init_args": arguments})
    assert not (tmp_path / "ran").exists()
    assert "this" not in sys.modules
