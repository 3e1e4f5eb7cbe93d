"""Accuracy of the mean of what a model says of several crops of each test image."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from capsbench.contracts import Model, found_classes
from capsbench.data.images import ImageData
from capsbench.measures import AveragedAccuracy
from capsbench.measures.measured import Measured
from capsbench.viewpoint.views import Views


@torch.inference_mode()
def measure(
    entry: AveragedAccuracy,
    model: Model,
    data: ImageData,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on the familiar test images.

    ``averaged/accuracy`` is that of the mean of the probabilities over the crops (Hinton et al.
    2018, section 4, average the activations of the class capsules); ``single/accuracy`` is that of
    the first crop alone.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each crop, for a progress bar.
    """
    crops, targets = list[Tensor](), list[Tensor]()
    for shift in entry.shifts:
        view = Views.identity(1).moved(shift)
        batches = list(data.batches("familiar", device, view))
        probabilities = [model.log_probabilities(model(batch.images)).exp() for batch in batches]
        crops.append(torch.cat(probabilities).cpu())
        targets = [batch.targets for batch in batches]
        advance()
    truth = torch.cat(targets).cpu()
    averaged = found_classes(torch.stack(crops).mean(dim=0), truth) == 1
    single = found_classes(crops[0], truth) == 1
    values = {
        "averaged/accuracy": float(averaged.float().mean()),
        "single/accuracy": float(single.float().mean()),
    }
    samples = {
        "averaged/correct": averaged.numpy(),
        "single/correct": single.numpy(),
        "index": data.split("familiar").index.numpy(),
    }
    return Measured(values, [], len(truth), samples)
