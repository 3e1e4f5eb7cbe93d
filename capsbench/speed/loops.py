"""Two training loops for the same steps: Lightning's, and a bare PyTorch loop."""

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
from capsbench.speed.nets import FAST, PROGRESS, Net, make_optimizer
from capsbench.speed.rows import Work
from capsbench.training.devices import ACCELERATORS
from capsbench.training.task import Task
from capsbench.training.trainer import make_trainer


def _data(net: Net, steps: int) -> ImageDataModule:
    """Return one batch for warm-up and one for each timed step."""
    return noise_images(
        net.image_shape,
        num_classes=net.num_classes,
        count=net.batch_size * (steps + 1),
        batch_size=net.batch_size,
    )


def fit_quietly(
    task: Any,
    data: ImageDataModule,
    *,
    device: str,
    steps: int,
    callback: Callback,
    **arguments: Any,
) -> Trainer:
    """Train without validation, logs, bars and checkpoints; return the trainer.

    Args:
        task: A `Task`, or a compiled one.
        data: Data module.
        device: ``cpu``, ``cuda`` or ``mps``.
        steps: Steps of the training.
        callback: Observer of the steps.
        arguments: Further arguments of the Trainer.
    """
    trainer = make_trainer(
        accelerator=ACCELERATORS[device],
        devices=1,
        max_steps=steps,
        limit_val_batches=0,
        logger=False,
        callbacks=[callback],
        plugins=[LightningEnvironment()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        **arguments,
    )
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric")
        trainer.fit(task, datamodule=data)
    return trainer


def bare_loop(net: Net, device: str, steps: int) -> Work:
    """Prepare a minimal training loop, without schedule, seeding and logging.

    Args:
        net: The network, computed in its fastest variant.
        device: Device of the training.
        steps: Timed steps, after an untimed one.

    Returns:
        Work that trains with a new optimizer and returns the seconds of the timed steps.
    """
    model, data = net.build(FAST, device), _data(net, steps)
    torch_device = torch.device(device)

    def work() -> float:
        optimizer = make_optimizer(model, FAST)
        for number, stored in enumerate(data.train_dataloader()):
            if number == 1:
                start = _now(device)
            moved = stored.to(torch_device)
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
    """Prepare the same steps under Lightning, with the task of every training.

    Args:
        net: The network, computed in its fastest variant.
        device: Device of the training.
        steps: Timed steps, after an untimed one.

    Returns:
        Work that fits and returns the seconds of the timed steps, including data loading.
    """
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.WARNING)
    task = Task(net.build(FAST, device))
    data = _data(net, steps)

    def work() -> float:
        timer = _StepTimer(device)
        fit_quietly(task, data, device=device, steps=steps + 1, callback=timer)
        task.zero_grad()
        return timer.last - timer.first

    return work


class _StepTimer(Callback):
    """Records the ends of the first and the last step."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.first = self.last = 0.0

    def on_train_batch_end(self, trainer: Trainer, *_: Any) -> None:
        if trainer.global_step == 1:
            self.first = _now(self.device)
        elif trainer.global_step == trainer.max_steps:
            self.last = _now(self.device)


def _now(device: str) -> float:
    """Return the time in seconds after the device has finished its work."""
    synchronize(device)
    return time.perf_counter()
