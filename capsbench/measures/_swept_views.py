"""Predictions at every view of a grid, and what summaries of a grid share."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._measure import MeasureContext
from capsbench.measures._predictions import predict_split
from capsbench.measures._turned_alike import turns_further
from capsbench.values import Quantity, Value
from capsbench.viewpoint.joint import SweptView
from capsbench.viewpoint.spread import Region

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

# Regions of the views that each summary averages.
SUMMARIES: dict[str, tuple[Region, ...]] = {
    "familiar": ("familiar",),
    "novel": ("between", "outside"),
    "between": ("between",),
    "outside": ("outside",),
}


@dataclass(frozen=True)
class ViewPredictions:
    """Predictions for N test images at V views.

    Attributes:
        correct: (V, N), True where an image was evaluated and is classified correctly.
        evaluated: (V, N), False where an image was not recorded at a view.
        index: (N,) each image's number in its source.
        accuracies: (V,) accuracy at each view.
        merged: (V, N), as ``correct`` if the classes that a half turn makes alike count as one at
            views that turn further than a quarter; None if the data has no such classes, or no view
            turns so far.
        predicted: (V, N) the most likely class, -1 for none and where an image was not evaluated;
            None if images show several objects.
        targets: (N,) the class of each image; None if they show several.
    """

    correct: Bools
    evaluated: Bools
    index: NDArray[np.int64]
    accuracies: Floats
    merged: Bools | None = None
    predicted: NDArray[np.signedinteger] | None = None
    targets: NDArray[np.signedinteger] | None = None

    @property
    def as_merged(self) -> ViewPredictions | None:
        """The same predictions with alike classes as one; None without ``merged``."""
        if self.merged is None:
            return None
        accuracies = self.merged.sum(axis=1) / self.evaluated.sum(axis=1)
        return replace(self, correct=self.merged, accuracies=accuracies)


def predict_views(
    model: Model, data: ImageDataModule, views: Sequence[SweptView], context: MeasureContext
) -> ViewPredictions:
    """Evaluate a model on the test images at each view; progress advances by one per view.

    Args:
        model: The model, in evaluation mode on the context's device.
        data: The data module.
        views: The V views. Recorded factors select images.
        context: Device and progress.
    """
    from capsbench.metrics.view_accuracy import ViewAccuracy  # which imports torchmetrics

    test = data.split("test")
    index = test.index.numpy()
    targets = test.targets.numpy() if test.targets.dim() == 1 else None
    smallest = np.min_scalar_type(-data.num_classes)  # of the integers that hold every class
    predicted = None if targets is None else np.full((len(views), len(index)), -1, smallest)
    order = np.argsort(index)
    correct = np.zeros((len(views), len(index)), dtype=bool)
    evaluated = np.zeros_like(correct)
    turned = bool(data.turned_alike) and any(map(turns_further, views))
    merged = np.zeros_like(correct) if turned else None
    # Every process evaluates all images, so there is nothing to add up between them.
    metric = ViewAccuracy(len(views), sync_on_compute=False)
    for row, view in enumerate(views):
        predictions = predict_split(model, data, "test", view, context.device)
        columns = order[np.searchsorted(index, predictions.index, sorter=order)]
        evaluated[row, columns] = True
        correct[row, columns] = predictions.correct
        if predicted is not None:
            predicted[row, columns] = predictions.predicted
        if merged is not None:
            merged[row, columns] = predictions.merged
        metric.update(row, torch.from_numpy(predictions.correct))
        context.advance()
    return ViewPredictions(
        correct, evaluated, index, metric.compute().numpy(), merged, predicted, targets
    )


def worst_value(quantity: Quantity, accuracies: Floats, evaluated: Bools) -> Value:
    """Return the lowest accuracy at any view, with the number of images at that view.

    Args:
        quantity: Identity of the value.
        accuracies: (V,) accuracy at each view.
        evaluated: (V, N), True where an image was evaluated at a view. Of several views with the
            lowest accuracy, the one with the fewest images counts.
    """
    worst = accuracies.min()
    return quantity.with_value(float(worst), int(evaluated[accuracies == worst].sum(axis=1).min()))


def are_distinct(views: Sequence[SweptView]) -> Iterator[bool]:
    """Yield False for a view that equals an earlier one, as -180 and 180 degrees do."""
    earlier: set[tuple[tuple[str, float], ...]] = set()
    for view in views:
        same = tuple(
            (each.factor, each.value if each.period is None else each.value % each.period)
            for each in view.components
        )
        yield same not in earlier
        earlier.add(same)
