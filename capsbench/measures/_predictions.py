"""Predictions of a model for the images of a split, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from capsbench.contracts import Model, class_recall
from capsbench.data.batches import SplitName
from capsbench.data.evaluation import ViewSelection
from capsbench.data.images import ImageDataModule


@dataclass(frozen=True)
class Predictions:
    """Agreement of a model's predictions with the targets.

    Attributes:
        recall: (N,) share of each image's objects that the model recognizes, see
            `capsbench.contracts.class_recall`; 0 or 1 if an image shows one object.
        index: (N,) each image's number in its source.
        multiple_objects: True if an image shows several objects.
    """

    recall: NDArray[np.float32]
    index: NDArray[np.int64]
    multiple_objects: bool

    @property
    def correct(self) -> NDArray[np.bool_]:
        """(N,), True for an image whose objects are all recognized."""
        return self.recall == 1


def predict_split(
    model: Model, data: ImageDataModule, split: SplitName, views: ViewSelection, device: str
) -> Predictions:
    """Evaluate a model on the images of a split, in the order of the split.

    Args:
        model: The model, in evaluation mode on ``device``.
        data: The data module.
        split: Name of the split.
        views: The views, see `EvaluationImages.batches`.
        device: Device of the model.
    """
    recall, index, multiple_objects = list[torch.Tensor](), list[torch.Tensor](), False
    for batch in data.evaluation.batches(split, device, views):
        recall.append(class_recall(model.logits(model(batch.images)), batch.targets))
        index.append(batch.index)
        multiple_objects = batch.targets.dim() == 2
    return Predictions(_concatenate(recall), _concatenate(index), multiple_objects)


def _concatenate(parts: list[torch.Tensor]) -> NDArray[Any]:
    joined: NDArray[Any] = torch.cat(parts).cpu().numpy()
    return joined
