from __future__ import annotations

import copy
import subprocess
import sys

from pytorch_lightning import LightningDataModule

from capsbench.datamodules import Digits


def test_instances_are_lightning_data_modules():
    data = Digits(limit=20)
    assert isinstance(data, LightningDataModule)
    assert type(data) is Digits
    assert issubclass(Digits, LightningDataModule)
    copied = copy.deepcopy(data)
    assert type(copied) is Digits
    assert len(copied.split("train")) == 20


def test_a_detached_one_has_the_same_images():
    data, detached = Digits(limit=20), Digits.detached(limit=20)
    assert detached.rank_and_world_size == (0, 1)
    assert (detached.split("train").images == data.split("train").images).all()


def test_one_that_was_made_before_lightning_was_imported_can_train():
    """In a process of its own: here it has been imported."""
    program = """
import sys, pickle
from capsbench.datamodules import Digits
data = Digits.detached(limit=40, batch_size=20)
assert "pytorch_lightning" not in sys.modules
import pytorch_lightning as pl
from capsbench.models import CNNSmall
from capsbench.training.recipe import Recipe
from capsbench.training.task import Task
assert data.trainer is None and data.rank_and_world_size == (0, 1)
assert isinstance(data, pl.LightningDataModule)
assert isinstance(pickle.loads(pickle.dumps(data)), Digits)
model = CNNSmall(image_shape=data.image_shape, num_classes=10, width=2, hidden=4)
trainer = pl.Trainer(
    max_steps=1, accelerator="cpu", logger=False, enable_checkpointing=False,
    enable_progress_bar=False, enable_model_summary=False,
)
trainer.fit(Task(model, Recipe()), datamodule=data)
assert trainer.global_step == 1 and data.trainer is trainer
"""
    subprocess.run([sys.executable, "-c", program], check=True)
