"""Accuracy of the mean of what a model says of several crops of each test image."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import Model, class_recall
from capsbench.data.batches import SplitName
from capsbench.data.images import ImageDataModule
from capsbench.measures import AveragedAccuracy
from capsbench.measures._result import Measured
from capsbench.viewpoint.views import Views

CENTRE = (0.0, 0.0)


@torch.inference_mode()
def measure(
    entry: AveragedAccuracy,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on splits of test images.

    ``<split>/averaged/accuracy`` is that of the mean of the probabilities over the crops (Hinton et
    al. 2018, section 4, average the activations of the class capsules); ``<split>/single/accuracy``
    is that of the crop in the centre alone, where that is one of them.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each crop, for a progress bar.
    """
    values: dict[str, float] = {}
    samples: dict[str, NDArray[Any]] = {}
    count = 0
    for split in entry.splits:
        crops, truth = list[Tensor](), torch.empty(0)
        for shift in entry.shifts:
            probabilities, truth = _look(model, data, split, Views.identity(1).with_shift(shift), device)
            crops.append(probabilities)
            advance()
        means = {"averaged": torch.stack(crops).mean(dim=0)}
        if CENTRE in entry.shifts:
            means["single"] = crops[entry.shifts.index(CENTRE)]
        for name, seen in means.items():
            correct = class_recall(seen, truth) == 1
            values[f"{split}/{name}/accuracy"] = float(correct.float().mean())
            samples[f"{split}/{name}/accuracy"] = correct.numpy()
        samples[f"{split}/index"] = data.split(split).index.numpy()
        count = max(count, len(truth))
    return Measured(values, [], count, samples)


def _look(
    model: Model, data: ImageDataModule, split: SplitName, view: Views, device: str
) -> tuple[Tensor, Tensor]:
    """(N, K) probabilities of a split's images at one view, and their targets, on the CPU."""
    probabilities, targets = list[Tensor](), list[Tensor]()
    for batch in data.evaluation.batches(split, device, view):
        probabilities.append(model.log_probabilities(model(batch.images)).exp())
        targets.append(batch.targets)
    return torch.cat(probabilities).cpu(), torch.cat(targets).cpu()
