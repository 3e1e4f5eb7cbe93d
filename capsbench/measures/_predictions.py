"""Predictions of a model for the images of a split, image by image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from capsbench.contracts import Model, class_recall, predicted_classes
from capsbench.data.batches import SplitName
from capsbench.data.evaluation import ViewSelection
from capsbench.data.images import ImageDataModule
from capsbench.measures._turned_alike import is_correct_merged


@dataclass(frozen=True)
class Predictions:
    """Agreement of a model's predictions with the targets.

    Attributes:
        recall: (N,) share of each image's objects that the model recognizes, see
            `capsbench.contracts.class_recall`; 0 or 1 if an image shows one object.
        merged: (N,) bool, True for an image that is classified correctly if the classes that a half
            turn makes alike count as one where it is turned by more than a quarter; None if the
            data has no such classes.
        index: (N,) each image's number in its source.
        multiple_objects: True if an image shows several objects.
        predicted: (N,) the most likely class of each image, -1 for none; None of several objects.
        targets: (N,) the class of each image; None of several objects.
    """

    recall: NDArray[np.float32]
    merged: NDArray[np.bool_] | None
    index: NDArray[np.int64]
    multiple_objects: bool
    predicted: NDArray[np.int64] | None
    targets: NDArray[np.int64] | None

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
    recall, merged, index = list[torch.Tensor](), list[torch.Tensor](), list[torch.Tensor]()
    predicted, targets = list[torch.Tensor](), list[torch.Tensor]()
    multiple_objects = False
    for batch in data.evaluation.batches(split, device, views):
        logits = model.logits(model(batch.images))
        recall.append(class_recall(logits, batch.targets))
        if data.turned_alike:
            rotation = batch.views.rotation
            merged.append(is_correct_merged(logits, batch.targets, rotation, data.turned_alike))
        index.append(batch.index)
        multiple_objects = batch.targets.dim() == 2
        if not multiple_objects:
            chosen = predicted_classes(logits, batch.targets)
            predicted.append(torch.where(chosen.any(dim=1), chosen.int().argmax(dim=1), -1))
            targets.append(batch.targets)
    return Predictions(
        _concatenate(recall),
        _concatenate(merged) if data.turned_alike else None,
        _concatenate(index),
        multiple_objects,
        None if multiple_objects else _concatenate(predicted),
        None if multiple_objects else _concatenate(targets),
    )


def _concatenate(parts: list[torch.Tensor]) -> NDArray[Any]:
    joined: NDArray[Any] = torch.cat(parts).cpu().numpy()
    return joined
