"""Accuracy on familiar and novel test images, and at views of named ranges."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures import AccuracyBySplit
from capsbench.measures._predictions import found_in
from capsbench.measures._result import Measured


@torch.inference_mode()
def measure(
    entry: AccuracyBySplit,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on splits and ranges.

    Each key begins with the name of the split or range: ``<name>/accuracy``, of images that are
    wholly right, ``<name>/images``, how many there are, and where images hold several objects
    ``<name>/objects/accuracy``, of objects. ``gap`` is the
    familiar accuracy less the novel one. Samples hold each image's outcome under the same keys.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each split or range, for a progress bar.
    """
    values: dict[str, float] = {}
    samples: dict[str, NDArray[Any]] = {}
    rows = []
    for name in (*entry.splits, *entry.ranges):
        split = name if name in entry.splits else "test"
        found = found_in(model, data, split, entry.ranges.get(name), device)
        correct = found.shares == 1
        values[f"{name}/accuracy"] = float(correct.mean())
        if found.several:
            values[f"{name}/objects/accuracy"] = float(found.shares.mean())
            samples[f"{name}/objects/accuracy"] = found.shares
        samples |= {f"{name}/accuracy": correct, f"{name}/index": found.numbers}
        values[f"{name}/images"] = float(len(correct))
        rows.append(len(correct))
        advance()
    if {"familiar/accuracy", "novel/accuracy"} <= values.keys():
        values["gap"] = values["familiar/accuracy"] - values["novel/accuracy"]
    return Measured(values, [], max(rows, default=0), samples)
