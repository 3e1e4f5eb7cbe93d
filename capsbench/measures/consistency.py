"""Measure ``consistency``: share of images with the same prediction from another view."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import ClassVar, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from capsbench.contracts import Model, class_recall, predicted_classes
from capsbench.data.evaluation import ViewSelection
from capsbench.data.images import ImageDataModule
from capsbench.measures import (
    GridMeasureConfig,
    Headline,
    Measure,
    MeasureContext,
    MeasureResult,
    ValueSpec,
    index_name,
)
from capsbench.measures._config import refuse_recorded
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._result import Array
from capsbench.values import Quantity, Value
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views


class ConsistencyConfig(GridMeasureConfig):
    """Arguments of `Consistency`.

    A shift by one pixel (Azulay and Weiss 2019) is a grid such as
    ``shift_x: {start: -1, stop: 1, step: 1}``.

    Attributes:
        grid: Views of warps and photometric factors. A recorded view has other images, and nothing
            to compare.
        images: Largest number of familiar test images.
    """

    measure: Literal["consistency"]
    images: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse_recorded(self.measure, self.grid.factors())
        return self


class Consistency(Measure[ConsistencyConfig]):
    """Share of the images whose prediction is the same from another view, correct or not.

    Consistency is P[argmax f(T_g x) = argmax f(x)] over images x, at each view g (article, eq. 0,
    for the prediction alone). A model that always predicts the same class is perfectly consistent,
    so compare it with the accuracy. In an image of M objects the M most likely classes must agree.

    Further per-image arrays: ``consistent`` (V, N) bool.
    """

    config = ConsistencyConfig
    source = "Zhang 2019; Azulay and Weiss 2019"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "consistency": ValueSpec(
            "Share of the images with the same prediction as without a transformation: at a view, "
            "averaged over a factor's views, or over all factors. Averages leave out views that "
            "change nothing, and count views 360 degrees apart once.",
            "share",
        ),
        "worst_consistency": ValueSpec(
            "Lowest consistency at any view that changes the images.", "share"
        ),
        "accuracy": ValueSpec("Accuracy on the same images without a transformation.", "share"),
    }
    headlines: ClassVar = (
        Headline(
            Quantity(metric="consistency"),
            "Same predicted class, right or wrong, before and after a transformation",
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls, config: ConsistencyConfig, model: Model, data: ImageDataModule, context: MeasureContext
    ) -> MeasureResult:
        """Compute the measure; see `Measure.compute`."""
        rows, views = subset_rows(data, config.images), config.grid.views()

        def predict(selection: ViewSelection) -> tuple[Tensor, Tensor]:
            """Return (N, K) predicted classes at a view and (N,) True for correct images."""
            classes, correct = list[Tensor](), list[Tensor]()
            for batch in familiar_batches(data, context.device, rows, selection):
                logits = model.logits(model(batch.images))
                classes.append(predicted_classes(logits, batch.targets).cpu())
                correct.append((class_recall(logits, batch.targets) == 1).cpu())
            return torch.cat(classes), torch.cat(correct)

        classes, correct = predict(Views.identity(1))
        consistent = torch.empty(len(views), len(rows), dtype=torch.bool)
        for row, view in zip(consistent, views, strict=True):
            row[:] = same_prediction(classes, predict(view)[0])
            context.advance()
        accuracy, overall = Quantity(metric="accuracy"), Quantity(metric="consistency")
        values, notes = _summarize(views, consistent.double().mean(dim=1).tolist(), len(rows))
        values.append(accuracy.with_value(float(correct.double().mean()), len(rows)))
        per_image: dict[str, Array] = {
            "consistent": consistent.numpy(),
            accuracy.name: correct.numpy(),
            index_name(): data.split("familiar").index[rows].numpy(),
        }
        if (weights := _overall_weights(views)) is not None:
            per_image[overall.name] = weights @ consistent.numpy()
        return MeasureResult(values, per_image, notes)


def same_prediction(classes: Tensor, others: Tensor) -> Tensor:
    """Return (N,) bool, True if the predictions of an image are equal and not empty.

    Args:
        classes: (N, K) bool, the classes predicted for each image.
        others: (N, K) bool, the classes predicted for the same images from another view.
    """
    return (classes == others).all(dim=-1) & classes.any(dim=-1)


def _summarize(
    views: Sequence[GridView], shares: Sequence[float], n: int
) -> tuple[list[Value], tuple[str, ...]]:
    """Return the consistency by view, by factor and over all, and notes.

    Args:
        views: The V views.
        shares: Consistency at each of them.
        n: Number of images.
    """
    by_view = [
        Quantity(metric="consistency", factor=view.factor, view=view.value).with_value(share, n)
        for view, share in zip(views, shares, strict=True)
    ]
    by_factor = {
        factor: [shares[row] for row in rows] for factor, rows in _averaged_rows(views).items()
    }
    means = {factor: fmean(included) for factor, included in by_factor.items() if included}
    values = [
        Quantity(metric="consistency", factor=factor).with_value(mean, n)
        for factor, mean in means.items()
    ]
    if means:
        worst = min(min(included) for included in by_factor.values() if included)
        values.append(Quantity(metric="consistency").with_value(fmean(means.values()), n))
        values.append(Quantity(metric="worst_consistency").with_value(worst, n))
    notes = (
        f"no consistency averaged over {factor}: no view of the grid changes an image"
        for factor in by_factor.keys() - means.keys()
    )
    return [*values, *by_view], tuple(sorted(notes))


def _overall_weights(views: Sequence[GridView]) -> NDArray[np.float64] | None:
    """Return the weight of each view in the overall consistency, (V,); None if none counts."""
    by_factor = [rows for rows in _averaged_rows(views).values() if rows]
    if not by_factor:
        return None
    weights = np.zeros(len(views))
    for rows in by_factor:
        weights[rows] = 1 / len(rows) / len(by_factor)
    return weights


def _averaged_rows(views: Sequence[GridView]) -> dict[str, list[int]]:
    """Return the rows of the views that change images, by factor, each view once."""
    rows: dict[str, dict[float, int]] = {view.factor: {} for view in views}
    for row, view in enumerate(views):
        if not view.is_identity:
            value = view.value % view.period if view.period else view.value
            rows[view.factor][value] = row
    return {factor: list(by_value.values()) for factor, by_value in rows.items()}
