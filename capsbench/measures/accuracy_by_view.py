"""Accuracy on every test image at every view of a grid, and what sums it up."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torchmetrics import Metric

from capsbench import measures
from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._predictions import found_in
from capsbench.measures._result import Measured
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange

# What is averaged, and over views that lie where.
KINDS = {
    "familiar": ("familiar",),
    "novel": ("between", "outside"),
    "between": ("between",),
    "outside": ("outside",),
}


@torch.inference_mode()
def measure(
    entry: measures.AccuracyByView,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on the test split.

    Samples hold ``correct`` and ``shown``, (V, N) bool; and where each image is seen from all
    views, under the keys of values such as ``novel/accuracy``, that of each image, (N,).

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module; its ``views`` say what is familiar.
        device: Where the model is.
        advance: Called after each view, for a progress bar.
    """
    views = entry.grid.views()
    index = data.split("test").index.numpy()
    order = np.argsort(index)
    correct = np.zeros((len(views), len(index)), dtype=bool)
    shown = np.zeros_like(correct)
    # Every process sees the same images: there is nothing to sum up over them.
    metric = AccuracyByView(len(views), sync_on_compute=False)
    for row, view in enumerate(views):
        found = found_in(model, data, "test", view, device)
        columns = order[np.searchsorted(index, found.numbers, sorter=order)]
        shown[row, columns] = True
        correct[row, columns] = found.shares == 1
        metric.update(row, torch.from_numpy(found.shares == 1))
        advance()
    counts = shown.sum(axis=1)
    values, rows = summarize(views, metric.compute().tolist(), data.views)
    rows = [{**row, "n": int(count)} for row, count in zip(rows, counts, strict=True)]
    samples = {"correct": correct, "shown": shown, "index": index}
    if shown.all():  # else an image has no outcome at views that it is not seen from
        samples |= {
            f"{kind}/accuracy": weights @ correct
            for kind, weights in kind_weights(views, data.views).items()
            if kind in KINDS
        }
    return Measured(values, rows, int(counts.max()), samples)


class AccuracyByView(Metric):
    """Accuracy at each view, over batches and processes; `summarize` sums it up.

    Args:
        views: V.
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    correct: Tensor
    shown: Tensor

    def __init__(self, views: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        for name in ("correct", "shown"):
            self.add_state(name, torch.zeros(views, dtype=torch.long), dist_reduce_fx="sum")

    def update(self, view: int, correct: Tensor) -> None:
        """Add images that are seen from a view; a recorded view has images of its own.

        Args:
            view: Its number.
            correct: (B,) bool.
        """
        self.correct[view] += correct.sum()
        self.shown[view] += len(correct)

    def compute(self) -> Tensor:
        """(V,) float64; NaN for a view without images."""
        return self.correct.double() / self.shown

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Draw accuracy view by view, or the values that are given."""
        if val is not None:
            return self._plot(val, ax)
        drawn: Any = self._plot({"accuracy": self.compute()}, ax)
        drawn[1].set_xlabel("view")
        return drawn


def summarize(
    views: Sequence[GridView], accuracies: Sequence[float], ranges: ViewRange
) -> tuple[dict[str, float], list[dict[str, Any]]]:
    """Sum up accuracies by view.

    Familiar views lie inside the training ranges, novel ones do not: those between trained values
    ask for interpolation, those outside for extrapolation. Each factor counts the same: the
    accuracy on familiar (novel, between, outside) views is averaged over the views of a factor
    first, over the factors then; two angles a whole turn apart are one view, and count once. The
    area under a factor's curve is its mean height over the swept range (trapezoids).

    Args:
        views: The grid.
        accuracies: One per view.
        ranges: The training ranges.

    Returns:
        Values under stable keys, and one row per view. A key without any view is left out.
    """
    places = [ranges.place(view) for view in views]
    factors = list(dict.fromkeys(view.factor for view in views))
    heights = np.array(accuracies)
    values = {
        f"{kind}/accuracy": float(weights @ heights)
        for kind, weights in kind_weights(views, ranges).items()
    }
    if {"familiar/accuracy", "novel/accuracy"} <= values.keys():
        values["gap"] = values["familiar/accuracy"] - values["novel/accuracy"]
    values["worst/accuracy"] = float(heights.min())
    for factor in factors:
        swept = [view.factor == factor for view in views]
        at, curve = np.array([v.value for v in views])[swept], heights[swept]
        width = float(at[-1] - at[0])
        values[f"{factor}/worst"] = float(curve.min())
        values[f"{factor}/area"] = float(np.trapezoid(curve, at) / width if width else curve[0])
    rows: list[dict[str, Any]] = []
    for view, place, accuracy in zip(views, places, accuracies, strict=True):
        values[f"{view.key}/accuracy"] = accuracy
        rows.append(
            {
                "factor": view.factor,
                "value": view.value,
                "key": view.key,
                "familiar": place == "familiar",
                "place": place,
                "accuracy": accuracy,
            }
        )
    return values, rows


def kind_weights(
    views: Sequence[GridView], ranges: ViewRange
) -> dict[str, NDArray[np.floating[Any]]]:
    """How much each view counts, (V,) with sum 1, in the accuracy on views of each kind.

    The kinds are those of `summarize`, of each factor, such as ``rotation/novel``, and of all; one
    without any view is left out.
    """
    places = [ranges.place(view) for view in views]
    first = _first_of_its_kind(views)
    found: dict[str, NDArray[np.floating[Any]]] = {}
    for kind, wanted in KINDS.items():
        if kind in ("between", "outside") and "between" not in places:
            continue  # all that is novel lies outside
        by_factor = {}
        for factor in dict.fromkeys(view.factor for view in views):
            chosen = np.array(
                [
                    view.factor == factor and place in wanted and counts
                    for view, place, counts in zip(views, places, first, strict=True)
                ]
            )
            if chosen.any():
                by_factor[f"{factor}/{kind}"] = chosen / chosen.sum()
        found |= by_factor
        if by_factor:
            found[kind] = np.mean(list(by_factor.values()), axis=0)
    return found


def _first_of_its_kind(views: Sequence[GridView]) -> list[bool]:
    """Whether no view before it is the same; -180 and 180 degrees are."""
    seen: set[GridView] = set()
    result = []
    for view in views:
        turned = view.value if view.period is None else view.value % view.period
        same = GridView(view.factor, turned)
        result.append(same not in seen)
        seen.add(same)
    return result
