"""The cost of a trained model: what is counted, and its speed and memory on this device."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures import Cost
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._result import Measured
from capsbench.profiling.model_cost import cost
from capsbench.profiling.peak_memory import peak_bytes
from capsbench.profiling.timing import seconds_per_call


def measure(
    entry: Cost,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Count what a model costs, and measure its speed and memory on this device.

    Keys: ``parameters``, ``decoder/parameters``, ``flops`` (of a forward pass of one image, see
    `capsbench.profiling.model_cost.Cost`),
    ``votes/bytes`` (of one image, in float32, over all routing layers, whether they are stored or
    not) and ``votes/bytes@<routing layer>``; ``inference/images per second`` and ``inference/peak
    bytes``, of a batch of test images; ``training/...`` the same for a batch as in training,
    forward and backward, without the optimizer and the making of the batch. Peak bytes are those
    in use beyond the model and the images. Speed is that of this machine while it also did what
    else it had to do.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``; it is not trained further.
        data: The data module.
        device: Where the model is.
        advance: Called after counting, classifying and training.
    """
    found = cost(model)
    values: dict[str, float] = {"parameters": found.parameters, "flops": found.flops}
    if found.decoder_parameters is not None:
        values["decoder/parameters"] = found.decoder_parameters
    if votes := found.vote_bytes(1):
        values["votes/bytes"] = sum(votes.values())
        values |= {f"votes/bytes@{name}": count for name, count in votes.items()}
    advance()
    samples: dict[str, NDArray[Any]] = {}
    rows = subset_rows(data, entry.batch_size)
    on_mps = torch.device(device).type == "mps"
    images = next(familiar_batches(data, device, rows, batch_size=entry.batch_size)).images
    works = {"inference": (lambda: _classify(model, images), len(images))}
    trained = any(parameter.requires_grad for parameter in model.parameters())
    if trained:
        works["training"] = _training(model, data, device)
    for name, (work, count) in works.items():
        seconds = seconds_per_call(work, device, entry.repeats)
        samples[f"{name}/seconds"] = np.array(seconds)
        values[f"{name}/images per second"] = count / float(np.median(seconds))
        if not on_mps:
            values[f"{name}/peak bytes"] = peak_bytes(work, device)
        advance()
    notes: tuple[str, ...] = ("peak memory is not measured on mps devices",) if on_mps else ()
    notes += () if trained else ("nothing is trained: the model has no parameters to train",)
    return Measured(values, [], len(images), samples, notes)


@torch.inference_mode()
def _classify(model: Model, images: Tensor) -> None:
    model.log_probabilities(model(images))


def _training(model: Model, data: ImageDataModule, device: str) -> tuple[Callable[[], None], int]:
    """A training step of a copy of the model but for the optimizer, and its number of images."""
    stored = next(iter(data.train_dataloader()))
    moved = data.transfer_batch_to_device(stored, torch.device(device), 0)
    batch = data.on_after_batch_transfer(moved, 0)
    learner = deepcopy(model).train()

    def step() -> None:
        with torch.enable_grad():
            learner.loss(learner(batch.images), batch, 0.0).backward()
        learner.zero_grad()

    return step, len(batch.targets)
