"""The same training in two loops: Lightning's, and a bare one of PyTorch."""

from __future__ import annotations

import logging
import time
import warnings
from typing import Any

import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.plugins.environments import LightningEnvironment

from capsbench.data.images import ImageDataModule
from capsbench.profiling.timing import synchronize
from capsbench.speed.images import noise_images
from capsbench.speed.nets import FAST, PROGRESS, Net, optimizer_of
from capsbench.speed.rows import Work
from capsbench.training.devices import ACCELERATORS
from capsbench.training.recipe import Recipe
from capsbench.training.task import Task


def _data(net: Net, steps: int) -> ImageDataModule:
    """As many batches as a work takes: one to begin with, then those that count."""
    count = net.size * (steps + 1)
    return noise_images(net.image_shape, num_classes=net.num_classes, count=count, batch=net.size)


def bare_loop(net: Net, device: str, steps: int) -> Work:
    """Steps of the least that trains: no schedule, no random state, nothing logged.

    Args:
        net: The network, in its fastest form.
        device: Where it is trained.
        steps: Steps that count; one more goes before them.

    Returns:
        Trains from a new optimizer on, and tells the seconds of the steps that count.
    """
    model, data, place = net.build(FAST, device), _data(net, steps), torch.device(device)

    def work() -> float:
        optimizer = optimizer_of(model, FAST)
        for number, stored in enumerate(data.train_dataloader()):
            if number == 1:
                start = _now(device)
            moved = data.transfer_batch_to_device(stored, place, 0)
            batch = data.on_after_batch_transfer(moved, 0)
            loss = model.loss(model(batch.images), batch, PROGRESS)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        seconds = _now(device) - start
        optimizer.zero_grad()
        return seconds

    return work


def lightning_loop(net: Net, device: str, steps: int) -> Work:
    """The same steps under Lightning, with the task and the data module of every training.

    Args:
        net: The network, in its fastest form.
        device: Where it is trained.
        steps: Steps that count; one more goes before them.

    Returns:
        Fits, and tells the seconds of the steps that count, each with the fetching of its batch.
    """
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    task = Task(net.build(FAST, device), Recipe(steps=steps + 1, batch_size=net.size))
    data = _data(net, steps)

    def work() -> float:
        watch = _Watch(device)
        trainer = Trainer(
            accelerator=ACCELERATORS[device],
            devices=1,
            max_steps=steps + 1,
            limit_val_batches=0,
            logger=False,
            callbacks=[watch],
            plugins=[LightningEnvironment()],
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", module="pytorch_lightning")
            trainer.fit(task, datamodule=data)
        task.zero_grad()
        return watch.last - watch.first

    return work


class _Watch(Callback):
    """Notes when the first step ended, and the last."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.first = self.last = 0.0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 1:
            self.first = _now(self.device)
        elif trainer.global_step == trainer.max_steps:
            self.last = _now(self.device)


def _now(device: str) -> float:
    """Seconds, when the device has done what it was given."""
    synchronize(device)
    return time.perf_counter()
