"""Measure ``accuracy-by-joint-view``: accuracy if two factors of the view change at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal

import numpy as np
import torch

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures import (
    HeatMapFigureSpec,
    Measure,
    MeasureConfig,
    MeasureContext,
    MeasureResult,
    ValueSpec,
    index_name,
)
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
from capsbench.values import MERGED_ACCURACY, Quantity
from capsbench.viewpoint.joint import JointGrid, JointView
from capsbench.viewpoint.ranges import ViewRange

GAP = Quantity(metric="gap")
INTERACTION = Quantity(metric="interaction")


class AccuracyByJointViewConfig(MeasureConfig):
    """Arguments of `AccuracyByJointView`.

    Attributes:
        grid: Sweeps of exactly two factors; every pair of their values is a view.
    """

    measure: Literal["accuracy-by-joint-view"]
    grid: JointGrid

    @property
    def required_views(self) -> Sequence[JointView]:
        """The views of the grid."""
        return self.grid.views()

    @property
    def num_progress_steps(self) -> int:
        """One step per view."""
        return len(self.grid)


class AccuracyByJointView(Measure[AccuracyByJointViewConfig]):
    """Accuracy on every test image at every pair of values of two factors.

    A joint view is familiar if the values of both factors are inside the training ranges, outside
    if either is outside, and else between. Summaries average over views, each with the same
    weight, whatever its number of images. Two angles 360 degrees apart are the same view and count
    once. At views that turn images by more than a quarter, and in the summaries of such views, the
    accuracy with alike classes as one (6 and 9) is given beside the plain one.

    Further per-image arrays: ``correct`` (V, N) bool, and ``evaluated`` (V, N), False where an
    image was not recorded at a view. The arrays of summaries hold their linear part, because each
    view may have other images.
    """

    config = AccuracyByJointViewConfig
    revision = 3
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "accuracy": ValueSpec(
            "Share of the images that are classified correctly: at a joint view, or averaged over "
            "the familiar, novel, between or outside ones.",
            "share",
        ),
        MERGED_ACCURACY: MERGED,
        "gap": ValueSpec(
            "Accuracy at familiar views minus accuracy at novel views.", "difference of shares"
        ),
        "worst_accuracy": ValueSpec("Lowest accuracy at any joint view.", "share"),
        "interaction": ValueSpec(
            "Accuracy at views with two novel values minus the lower of the accuracies that either "
            "value has with the familiar values of the other factor, averaged over these views; "
            "negative if both changes together are harder than the harder one alone.",
            "difference of shares",
        ),
    }
    figures = (
        HeatMapFigureSpec(
            name="accuracy-by-joint-view",
            title="Accuracy by joint view",
            caption=(
                "Accuracy at each pair of values of two factors, as the mean over seeds (above), "
                "and its difference from the first model (below). The outline holds the familiar "
                "views; everything outside it is novel. A dot marks a view at which the 95 % "
                "interval of the difference does not exclude zero. The interval is for one view, "
                "and allows for other seeds and other test images; it needs three seeds or more of "
                "both models."
            ),
            metric="accuracy",
            axis="accuracy",
            outcomes="correct",
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: AccuracyByJointViewConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the measure; see `Measure.compute`."""
        views = config.grid.views()
        predictions = predict_views(model, data, views, context)
        accuracies, evaluated = predictions.accuracies, predictions.evaluated
        weights = summary_weights(config.grid, accuracies, data.views)
        values = [
            quantity.with_value(float(each @ accuracies), _num_images(evaluated[each != 0]))
            for quantity, each in weights.items()
        ]
        values.append(worst_value(Quantity(metric="worst_accuracy"), accuracies, evaluated))
        for view, accuracy, images in zip(views, accuracies, evaluated, strict=True):
            quantity = _at_view(view, data.views)
            values.append(quantity.with_value(float(accuracy), int(images.sum())))
        contributions = {
            quantity.name: image_contributions(each, predictions)
            for quantity, each in weights.items()
        }
        arrays = {
            "correct": predictions.correct,
            "evaluated": evaluated,
            index_name(): predictions.index,
        }
        if (merged := predictions.as_merged) is not None:
            turned = np.array([turns_further(view) for view in views])
            for quantity, each in weights.items():
                if quantity.metric == "accuracy" and each[turned].any():
                    mean = merged_quantity(quantity, data)
                    n = _num_images(evaluated[each != 0])
                    values.append(mean.with_value(float(each @ merged.accuracies), n))
                    contributions[mean.name] = image_contributions(each, merged)
            values += [
                merged_quantity(_at_view(views[row], data.views), data).with_value(
                    float(merged.accuracies[row]), int(evaluated[row].sum())
                )
                for row in np.flatnonzero(turned)
            ]
        return MeasureResult(values, arrays | contributions)


def summary_weights(
    grid: JointGrid, accuracies: Floats, ranges: ViewRange
) -> dict[Quantity, Floats]:
    """Return the weight of each view in each summary that is linear in the accuracies.

    Args:
        grid: The grid of V views.
        accuracies: (V,), which decide the lower accuracy of each interaction.
        ranges: The training ranges.

    Returns:
        (V,) weights by quantity. A summary without any view is left out; so are ``between`` and
        ``outside`` if all novel views lie outside.
    """
    views = grid.views()
    regions = np.array([ranges.region(view) for view in views])
    distinct = np.array(list(are_distinct(views)))
    summaries: dict[Quantity, Floats] = {}
    for split, included in SUMMARIES.items():
        if split in ("between", "outside") and "between" not in regions:
            continue
        rows = np.isin(regions, included) & distinct
        if rows.any():
            summaries[_accuracy(split)] = rows / rows.sum()
    familiar, novel = (summaries.get(_accuracy(split)) for split in ("familiar", "novel"))
    if familiar is not None and novel is not None:
        summaries[GAP] = familiar - novel
        interaction = _interaction_weights(
            accuracies.reshape(grid.shape),
            (regions == "familiar").reshape(grid.shape),
            distinct.reshape(grid.shape),
        )
        if interaction is not None:
            summaries[INTERACTION] = interaction.ravel()
    return summaries


def _interaction_weights(accuracies: Floats, familiar: Bools, distinct: Bools) -> Floats | None:
    """Return the weight of each view in the interaction; None without any view of two novel values.

    Args:
        accuracies: (A, B), by the values of the first and of the second factor.
        familiar: (A, B), True for the familiar views: some values of each factor, with each other.
        distinct: (A, B), False for a view that equals an earlier one.
    """
    by_factor = [(familiar.any(axis=axis), distinct.any(axis=axis)) for axis in (1, 0)]
    known_a, known_b = (np.flatnonzero(known & counts) for known, counts in by_factor)
    novel_a, novel_b = (np.flatnonzero(~known & counts) for known, counts in by_factor)
    if not (len(novel_a) and len(novel_b)):
        return None
    alone_a = accuracies[np.ix_(novel_a, known_b)].mean(axis=1)
    alone_b = accuracies[np.ix_(known_a, novel_b)].mean(axis=0)
    a_is_lower = alone_a[:, None] <= alone_b
    weights = np.zeros(accuracies.shape)
    weights[np.ix_(novel_a, novel_b)] = 1
    weights[np.ix_(novel_a, known_b)] = -a_is_lower.sum(axis=1)[:, None] / len(known_b)
    weights[np.ix_(known_a, novel_b)] = -(~a_is_lower).sum(axis=0) / len(known_a)
    return weights / a_is_lower.size


def image_contributions(weights: Floats, predictions: ViewPredictions) -> Floats:
    """Return the linear part of a weighted sum of accuracies, image by image.

    Each accuracy is a mean over the images of its view, so that the sum is a sum of ratios. To
    first order it varies with the drawn images as the mean of these numbers does (the infinitesimal
    jackknife, see `capsbench.statistics.influence`).

    Args:
        weights: (V,).
        predictions: Predictions for N images at V views.

    Returns:
        (N,), whose mean is the sum. If every image was evaluated at every view, they are the
        weighted sums of each image's own outcomes.
    """
    accuracies, evaluated = predictions.accuracies, predictions.evaluated
    used = weights != 0
    deviations = (predictions.correct[used] - accuracies[used, None]) * evaluated[used]
    per_view = weights[used] * evaluated.shape[1] / evaluated[used].sum(axis=1)
    contributions: Floats = weights @ accuracies + per_view @ deviations
    return contributions


def _num_images(evaluated: Bools) -> int:
    """Return the number of images that were evaluated at any view."""
    return int(evaluated.any(axis=0).sum())


def _at_view(view: JointView, ranges: ViewRange) -> Quantity:
    first, second = view.components
    return Quantity(
        metric="accuracy",
        split=ranges.region(view),
        factor=first.factor,
        view=first.value,
        condition={second.factor: second.value},
    )


def _accuracy(split: str) -> Quantity:
    return Quantity(metric="accuracy", split=split)
