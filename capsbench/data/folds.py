"""Held-out images and folds for cross-validation: functions of the images' numbers or objects."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.data.randomness import generator

NUM_FOLDS = 4  # even, so that half of the folds are half of the training images
HELD_OUT_SHARE = 1 / 3  # of the images, or of the objects of a class


class Folds(NamedTuple):
    """Roles of images in a fit.

    Attributes:
        held_out: (N,) bool, images that are not used for fitting.
        fold: (N,) in [0, NUM_FOLDS), part of the training images in cross-validation.
        order: (N,) in [0, 1), a random order.
    """

    held_out: Tensor
    fold: Tensor
    order: Tensor

    def to(self, device: torch.device) -> Folds:
        """Return the folds on another device."""
        return Folds(*(part.to(device) for part in self))

    def select(self, rows: Tensor) -> Folds:
        """Return the folds of some of the images."""
        return Folds(*(part[rows] for part in self))


def folds_by_image(index: Tensor) -> Folds:
    """Assign images to folds at random by their number: the same for all layers and models.

    Args:
        index: (N,) each image's number in its source.
    """
    numbers = index.cpu()
    draws = generator("division of images", 0)
    table = torch.rand(int(numbers.max()) + 1, 3, generator=draws, dtype=torch.float64)
    use, fold, order = table[numbers].unbind(-1)
    parts = (use < HELD_OUT_SHARE, (fold * NUM_FOLDS).long(), order)
    return Folds(*(part.to(index.device) for part in parts))


def folds_by_object(targets: Tensor, instances: Tensor, index: Tensor) -> Folds:
    """Assign images to folds at random by the object that they show.

    A third of each class's objects is held out, because what holds for other images of an object
    need not hold for another object. A class of a single object has none held out. Objects are also
    kept together in the folds, except in a class with too few training objects for both halves of
    the folds: there the folds are of images.

    Args:
        targets: (N,) class indices.
        instances: (N,) number of the object within its class.
        index: (N,) each image's number in its source.
    """
    held_out = torch.zeros(len(targets), dtype=torch.bool)
    by_image = folds_by_image(index)
    fold = by_image.fold.cpu().clone()
    for label in targets.unique().tolist():
        rows = targets == label
        objects = instances[rows].unique()
        draws = generator("division of objects", label)
        order = objects[torch.randperm(len(objects), generator=draws)]
        count = max(round(HELD_OUT_SHARE * len(order)), 1) if len(order) > 1 else 0
        held_out |= rows & torch.isin(instances, order[:count])
        training = order[count:]
        for number, instance in enumerate(training if len(training) > NUM_FOLDS // 2 else ()):
            fold[rows & (instances == instance)] = number % NUM_FOLDS
    return Folds(held_out, fold, by_image.order)
