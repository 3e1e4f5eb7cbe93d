"""Measure ``worst-of-k``: accuracy if an image counts only if it is correct from all of k views."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator
from torch import Tensor

from capsbench.contracts import Model, class_recall, one_hot
from capsbench.data.images import ImageDataModule
from capsbench.data.randomness import views_by_index
from capsbench.measures import (
    Headline,
    Measure,
    MeasureConfig,
    MeasureContext,
    MeasureResult,
    ValueSpec,
    index_name,
)
from capsbench.measures._config import refuse_recorded
from capsbench.measures._image_subset import subset_rows
from capsbench.measures._random_views import batches_at_views
from capsbench.values import Quantity
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange


class WorstOfKConfig(MeasureConfig):
    """Arguments of `WorstOfK`.

    Attributes:
        views: Range from which the views of each image are drawn.
        k: Number of views per image.
        images: Largest number of familiar test images.
    """

    measure: Literal["worst-of-k"]
    views: ViewRange
    k: int = Field(default=10, ge=1, le=1000)
    images: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse_recorded(self.measure, list(self.views.recorded))
        if not self.views.transforms_images:
            raise ValueError("views of worst-of-k move or change no image: let a factor vary")
        return self

    @property
    def required_views(self) -> list[GridView | ViewRange]:
        """The range."""
        return [self.views]

    @property
    def num_progress_steps(self) -> int:
        """One step per draw."""
        return self.k


class WorstOfK(Measure[WorstOfKConfig]):
    """Accuracy on familiar test images if each counts only if it is correct from all of k views.

    The views come from a seeded table by image and draw. They are the same for every model, and the
    first of more views are the same as fewer.

    Further per-image arrays: ``correct`` and ``loss`` (k, N) at each view, the loss as the negative
    log-probability of the target, averaged over an image's objects; ``worst_view`` (N,), see
    `worst_view`.
    """

    config = WorstOfKConfig
    source = "Engstrom et al. 2019, section 3"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "worst_case_accuracy": ValueSpec(
            "Share of the images that are correct from each of their k views; with the condition "
            "k, the expected share for so many views drawn from these.",
            "share",
        ),
        "random_accuracy": ValueSpec("Accuracy from one view, averaged over the k views.", "share"),
    }
    headlines: ClassVar = (
        Headline(
            Quantity(metric="worst_case_accuracy"), "Accuracy at the worst of several random views"
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls, config: WorstOfKConfig, model: Model, data: ImageDataModule, context: MeasureContext
    ) -> MeasureResult:
        """Compute the measure; see `Measure.compute`."""
        images = data.split("familiar")[subset_rows(data, config.images)]
        n = len(images)
        correct = torch.empty(config.k, n, dtype=torch.bool)
        losses = torch.empty(config.k, n)
        for draw in range(config.k):
            views = views_by_index(config.views, images.index, "worst of k", draw)
            recall, loss = list[Tensor](), list[Tensor]()
            for batch in batches_at_views(data, images, views, config.views.part, context.device):
                prediction = model(batch.images)
                recall.append(class_recall(model.logits(prediction), batch.targets))
                loss.append(_loss(model.log_probabilities(prediction), batch.targets))
            correct[draw], losses[draw] = torch.cat(recall) == 1, torch.cat(loss)
            context.advance()
        worst = Quantity(metric="worst_case_accuracy")
        accuracies = expected_worst(correct).tolist()
        values = [
            worst.with_value(float(correct.all(dim=0).double().mean()), n),
            Quantity(metric="random_accuracy").with_value(accuracies[0], n),
        ]
        for k, accuracy in enumerate(accuracies, start=1):
            expected = Quantity(metric="worst_case_accuracy", condition={"k": k})
            values.append(expected.with_value(accuracy, n))
        per_image = {
            worst.name: correct.all(dim=0).numpy(),
            "correct": correct.numpy(),
            "loss": losses.numpy(),
            "worst_view": worst_view(correct, losses).numpy(),
            index_name(): images.index.numpy(),
        }
        return MeasureResult(values, per_image)


def worst_view(correct: Tensor, losses: Tensor) -> Tensor:
    """Return the worst view of each image: the wrong one with the largest loss.

    Args:
        correct: (V, N) bool, True if an image is correct from a view.
        losses: (V, N) negative log-probabilities of the target.

    Returns:
        (N,) numbers of views; if every view is correct, the one with the largest loss.
    """
    # A correct view is never the worst of an image that is wrong from another one.
    excluded = correct & ~correct.all(dim=0)
    return losses.masked_fill(excluded, -torch.inf).argmax(dim=0)


def expected_worst(correct: Tensor) -> Tensor:
    """Return the expected accuracy from the worst of k views, drawn without replacement.

    An image that is correct from m of V views is correct from all k drawn with the hypergeometric
    probability C(m, k) / C(V, k) = Π_{i < k} (m - i) / (V - i).

    Args:
        correct: (V, N) bool, True if an image is correct from a view.

    Returns:
        (V,) float64, for k = 1 to V; NaN without any image. The first is the mean accuracy over the
        views, the last the share of images that are correct from all of them.
    """
    counts = torch.arange(len(correct) + 1, device=correct.device, dtype=torch.float64)
    histogram = torch.bincount(correct.sum(dim=0), minlength=len(counts))
    drawn = counts[:-1]
    probabilities = ((counts[:, None] - drawn).clamp_min(0) / (len(drawn) - drawn)).cumprod(dim=1)
    return histogram.double() @ probabilities / histogram.sum()


def _loss(log_probabilities: Tensor, targets: Tensor) -> Tensor:
    """Return (B,) negative log-probabilities of the targets, averaged over an image's objects."""
    present = one_hot(targets, log_probabilities.shape[1]) > 0
    return -(log_probabilities.masked_fill(~present, 0).sum(dim=1) / present.sum(dim=1))
