"""What a model finds in the images of a split, one by one."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from capsbench.contracts import Model, class_recall
from capsbench.data.batches import SplitName
from capsbench.data.evaluation import ViewSelection
from capsbench.data.images import ImageDataModule


class Found(NamedTuple):
    """What a model found.

    Attributes:
        shares: (N,) which share of each image's objects; of one object 0 or 1.
        numbers: (N,) each image's number in its source.
        several: Whether images hold several objects.
    """

    shares: NDArray[np.float32]
    numbers: NDArray[np.int64]
    several: bool


def found_in(
    model: Model,
    data: ImageDataModule,
    split: SplitName,
    at: ViewSelection,
    device: str,
) -> Found:
    """What a model finds in the images of a split, in the order of the split.

    Args:
        model: The model, in evaluation mode on ``device``.
        data: The data module.
        split: Name of the split.
        at: From where the images are seen, see `ImageDataModule.batches`.
        device: Where the model is.
    """
    shares, index, several = [], [], False
    for batch in data.evaluation.batches(split, device, at):
        shares.append(class_recall(model.log_probabilities(model(batch.images)), batch.targets))
        index.append(batch.index)
        several = batch.targets.dim() == 2
    return Found(_array(shares), _array(index), several)


def _array(parts: list[torch.Tensor]) -> NDArray[Any]:
    joined: NDArray[Any] = torch.cat(parts).cpu().numpy()
    return joined
