"""Accuracy on every test image at every view of a grid, and what sums it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from capsbench.contracts import Model
from capsbench.data.images import ImageData
from capsbench.measures import AccuracyByView
from capsbench.measures.measured import Measured
from capsbench.viewpoint.ranges import GridView, ViewRange


@torch.inference_mode()
def measure(
    entry: AccuracyByView,
    model: Model,
    data: ImageData,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on the test split.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module; its ``views`` say what is familiar.
        device: Where the model is.
        advance: Called after each view, for a progress bar.
    """
    views = entry.grid.views()
    split = data.split("test")
    correct = np.empty((len(views), len(split)), dtype=bool)
    for row, view in enumerate(views):
        hits = [
            _hits(model, batch.images, batch.targets)
            for batch in data.batches("test", device, view)
        ]
        correct[row] = torch.cat(hits).cpu().numpy()
        advance()
    values, rows = summarize(views, correct.mean(axis=1).tolist(), data.views)
    samples = {"correct": correct, "index": split.index.numpy()}
    return Measured(values, rows, len(split), samples)


def _hits(model: Model, images: Tensor, targets: Tensor) -> Tensor:
    return model.log_probabilities(model(images)).argmax(-1) == targets


def summarize(
    views: Sequence[GridView], accuracies: Sequence[float], ranges: ViewRange
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Sum up accuracies by view.

    Familiar views lie inside the training ranges, novel ones outside. Each factor counts the same:
    the accuracy on familiar (novel) views is averaged over the views of a factor first, over the
    factors then; two angles a whole turn apart are one view, and count once. The area under a
    factor's curve is its mean height over the swept range (trapezoids).

    Args:
        views: The grid.
        accuracies: One per view.
        ranges: The training ranges.

    Returns:
        Values under stable keys, and one row per view. A key without any view is left out.
    """
    familiar = [ranges.familiar(view) for view in views]
    first = _first_of_its_kind(views)
    factors = list(dict.fromkeys(view.factor for view in views))
    heights = np.array(accuracies)
    values: dict[str, float] = {}
    for kind, wanted in (("familiar", True), ("novel", False)):
        means = []
        for factor in factors:
            chosen = [
                view.factor == factor and known is wanted and counts
                for view, known, counts in zip(views, familiar, first, strict=True)
            ]
            if any(chosen):
                means.append(float(heights[chosen].mean()))
                values[f"{factor}/{kind}/accuracy"] = means[-1]
        if means:
            values[f"{kind}/accuracy"] = float(np.mean(means))
    if {"familiar/accuracy", "novel/accuracy"} <= values.keys():
        values["gap"] = values["familiar/accuracy"] - values["novel/accuracy"]
    values["worst/accuracy"] = float(heights.min())
    for factor in factors:
        swept = [view.factor == factor for view in views]
        places, curve = np.array([v.value for v in views])[swept], heights[swept]
        width = float(places[-1] - places[0])
        values[f"{factor}/worst"] = float(curve.min())
        values[f"{factor}/area"] = float(np.trapezoid(curve, places) / width if width else curve[0])
    rows: list[dict[str, Any]] = []
    for view, known, accuracy in zip(views, familiar, accuracies, strict=True):
        values[f"{view.key}/accuracy"] = accuracy
        rows.append({**view._asdict(), "key": view.key, "familiar": known, "accuracy": accuracy})
    return values, rows


def _first_of_its_kind(views: Sequence[GridView]) -> list[bool]:
    """Whether no view before it is the same; -180 and 180 degrees are."""
    seen: set[GridView] = set()
    result = []
    for view in views:
        turned = view.value % 360 if view.factor == "rotation" else view.value
        same = GridView(view.factor, turned)
        result.append(same not in seen)
        seen.add(same)
    return result
