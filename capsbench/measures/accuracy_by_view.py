"""Measure ``accuracy-by-view``: accuracy on every test image at every view of a grid."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures import (
    GridMeasureConfig,
    Measure,
    MeasureContext,
    MeasureResult,
    ValueSpec,
    ViewFigureSpec,
    index_name,
)
from capsbench.measures._result import Array
from capsbench.measures._swept_views import (
    SUMMARIES,
    Bools,
    Floats,
    ViewPredictions,
    are_distinct,
    predict_views,
    worst_value,
)
from capsbench.measures._turned_alike import (
    MERGED,
    merged_quantity,
    turns_further,
)
from capsbench.values import MERGED_ACCURACY, Quantity, Value
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange


class AccuracyByViewConfig(GridMeasureConfig):
    """Arguments of `AccuracyByView`."""

    measure: Literal["accuracy-by-view"]


class AccuracyByView(Measure[AccuracyByViewConfig]):
    """Accuracy on every test image at every view of a grid, one factor at a time.

    Views inside the training ranges are familiar, all others novel. Novel views between trained
    values require interpolation, those outside extrapolation. Summaries average over the views of
    each factor, then over factors, so that each factor has the same weight. Within a factor each
    view has the same weight, whatever its number of images. Two angles 360 degrees apart are the
    same view and count once.

    At views that turn images by more than a quarter, and in the summaries of such views, the
    accuracy with alike classes as one (6 and 9) is given beside the plain one.

    Further per-image arrays: ``correct`` (V, N) bool, and ``evaluated`` (V, N), False where an
    image was not recorded at a view; of images of one object ``predicted`` (V, N), the most likely
    class, -1 for none, and ``target`` (N,), the class.
    """

    config = AccuracyByViewConfig
    revision = 3
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "accuracy": ValueSpec(
            "Share of the images that are classified correctly: at a view, or averaged over the "
            "familiar, novel, between or outside views of a factor or of all factors.",
            "share",
        ),
        MERGED_ACCURACY: MERGED,
        "gap": ValueSpec(
            "Accuracy at familiar views minus accuracy at novel views.", "difference of shares"
        ),
        "worst_accuracy": ValueSpec("Lowest accuracy at any view, of a factor or of all.", "share"),
        "area": ValueSpec(
            "Area under the accuracy curve of a factor divided by the width of the sweep "
            "(trapezoids).",
            "share",
        ),
    }
    figures = (
        ViewFigureSpec(
            name="accuracy-by-view",
            title="Accuracy by view",
            caption=(
                "Accuracy on the test images at each view of the grid, one factor at a time. The "
                "shaded part holds the familiar views; everything outside it is novel."
            ),
            metric="accuracy",
            axis="accuracy",
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: AccuracyByViewConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the measure; see `Measure.compute`."""
        views = config.grid.views()
        predictions = predict_views(model, data, views, context)
        correct, evaluated = predictions.correct, predictions.evaluated
        values = summarize(views, predictions.accuracies, evaluated, data.views)
        per_image: dict[str, Array] = {
            "correct": correct,
            "evaluated": evaluated,
            index_name(): predictions.index,
        }
        if predictions.predicted is not None and predictions.targets is not None:
            per_image |= {"predicted": predictions.predicted, "target": predictions.targets}
        if evaluated.all():  # otherwise an image has no outcome at views where it was not recorded
            per_image |= {
                quantity.name: weights @ correct
                for quantity, weights in summary_weights(views, data.views).items()
                if quantity.factor is None
            }
        merged = _merged_summaries(views, predictions, data)
        values += [value for value, _ in merged]
        if evaluated.all():
            per_image |= {v.name: outcomes for v, outcomes in merged if v.factor is None}
        return MeasureResult(values, per_image)


def _merged_summaries(
    views: Sequence[GridView], predictions: ViewPredictions, data: ImageDataModule
) -> list[tuple[Value, Floats]]:
    """Return the accuracies with alike classes as one, with the outcome (N,) of each image.

    There is one for each accuracy to which a view contributes that turns further than a quarter.
    """
    merged, evaluated = predictions.as_merged, predictions.evaluated
    if merged is None:
        return []
    turned = np.array([turns_further(view) for view in views])
    weights = summary_weights(views, data.views)
    weights |= {
        _at_view(view, data.views): row for view, row in zip(views, np.eye(len(views)), strict=True)
    }
    return [
        (
            merged_quantity(quantity, data).with_value(
                float(each @ merged.accuracies),
                int(evaluated[each > 0].any(axis=0).sum()),
            ),
            each @ merged.correct,
        )
        for quantity, each in weights.items()
        if each[turned].any()
    ]


def summarize(
    views: Sequence[GridView], accuracies: Floats, evaluated: Bools, ranges: ViewRange
) -> list[Value]:
    """Summarize the accuracies at the views of a grid.

    Args:
        views: The V views.
        accuracies: (V,) accuracy at each view.
        evaluated: (V, N), True where an image was evaluated at a view.
        ranges: The training ranges.

    Returns:
        Accuracy, gap, worst accuracy and area as `AccuracyByView.metrics` defines them; summaries
        without any view are left out.
    """

    def value(quantity: Quantity, number: float, rows: Bools) -> Value:
        return quantity.with_value(number, int(evaluated[rows].any(axis=0).sum()))

    all_views = np.ones(len(views), dtype=bool)
    means = {
        quantity: value(quantity, float(weights @ accuracies), weights > 0)
        for quantity, weights in summary_weights(views, ranges).items()
    }
    values = list(means.values())
    familiar, novel = (means.get(_accuracy(split)) for split in ("familiar", "novel"))
    if familiar and novel:
        values.append(value(Quantity(metric="gap"), familiar.value - novel.value, all_views))
    values.append(worst_value(Quantity(metric="worst_accuracy"), accuracies, evaluated))
    for factor in dict.fromkeys(view.factor for view in views):
        swept = np.array([view.factor == factor for view in views])
        at, curve = np.array([view.value for view in views])[swept], accuracies[swept]
        width = float(at[-1] - at[0])
        area = float(np.trapezoid(curve, at) / width if width else curve[0])
        worst_of_factor = Quantity(metric="worst_accuracy", factor=factor)
        values.append(worst_value(worst_of_factor, curve, evaluated[swept]))
        values.append(value(Quantity(metric="area", factor=factor), area, swept))
    for view, accuracy, images in zip(views, accuracies, evaluated, strict=True):
        values.append(_at_view(view, ranges).with_value(float(accuracy), int(images.sum())))
    return values


def summary_weights(views: Sequence[GridView], ranges: ViewRange) -> dict[Quantity, Floats]:
    """Return the weight of each view in each summarized accuracy.

    Args:
        views: The V views of a grid.
        ranges: The training ranges.

    Returns:
        (V,) weights with sum 1 by quantity, by split and factor and by split alone. A summary
        without any view is left out; so are ``between`` and ``outside`` if all novel views lie
        outside.
    """
    regions = [ranges.region(view) for view in views]
    distinct = list(are_distinct(views))
    summaries: dict[Quantity, Floats] = {}
    for split, included in SUMMARIES.items():
        if split in ("between", "outside") and "between" not in regions:
            continue
        by_factor: dict[Quantity, Floats] = {}
        for factor in dict.fromkeys(view.factor for view in views):
            rows = np.array(
                [
                    view.factor == factor and region in included and counts
                    for view, region, counts in zip(views, regions, distinct, strict=True)
                ]
            )
            if rows.any():
                by_factor[_accuracy(split, factor)] = rows / rows.sum()
        summaries |= by_factor
        if by_factor:
            summaries[_accuracy(split)] = np.mean(list(by_factor.values()), axis=0)
    return summaries


def _at_view(view: GridView, ranges: ViewRange) -> Quantity:
    return Quantity(
        metric="accuracy", split=ranges.region(view), factor=view.factor, view=view.value
    )


def _accuracy(split: str, factor: str | None = None) -> Quantity:
    return Quantity(metric="accuracy", split=split, factor=factor)
