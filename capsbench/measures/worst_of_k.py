"""Worst of k: an image counts as right only if it is right from every one of k views."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench import measures
from capsbench.contracts import Model, class_recall, one_hot
from capsbench.data.images import ImageDataModule
from capsbench.data.randomness import views_by_index
from capsbench.errors import UserError
from capsbench.measures._image_subset import subset_rows
from capsbench.measures._random_views import batches_from
from capsbench.measures._result import Measured


@torch.inference_mode()
def measure(
    entry: measures.WorstOfK,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on familiar test images, each from k views of its own.

    The views are those of a seeded table by image and draw: the same for every model, and fewer are
    a part of more. ``worst/accuracy`` is that from the worst of the k views, ``random/accuracy``
    that from one of them, over all of them; ``k=<number>/accuracy`` that from the worst of so many
    of them, in expectation.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each draw, for a progress bar.
    """
    images = data.split("familiar")[subset_rows(data, entry.images)]
    correct = torch.empty(entry.k, len(images), dtype=torch.bool)
    losses = torch.empty(entry.k, len(images))
    for draw in range(entry.k):
        views = views_by_index(entry.views, images.index, "worst of k", draw)
        right, lost = list[Tensor](), list[Tensor]()
        for batch in batches_from(data, images, views, entry.views.part, device):
            found = model.log_probabilities(model(batch.images)).float()
            right.append(class_recall(found, batch.targets) == 1)
            present = one_hot(batch.targets, found.shape[1]) > 0
            mean = found.masked_fill(~present, 0).sum(dim=1) / present.sum(dim=1)
            lost.append(-mean)  # over the objects of an image
        correct[draw], losses[draw] = torch.cat(right), torch.cat(lost)
        advance()
    worst = worst_of_k(correct, losses)
    by_number = worst.by_number.tolist()
    values = {"worst/accuracy": float(worst.accuracy), "random/accuracy": by_number[0]}
    values |= {f"k={k}/accuracy": value for k, value in enumerate(by_number, start=1)}
    assert worst.view is not None
    samples = {
        "worst/accuracy": worst.correct.numpy(),
        "correct": correct.numpy(),
        "loss": losses.numpy(),
        "worst": worst.view.numpy(),
        "index": images.index.numpy(),
    }
    return Measured(values, [], len(images), samples)


class Worst(NamedTuple):
    """The worst view of each image, of V.

    Attributes:
        correct: (N,) whether the image is right from every view.
        view: (N,) the worst view: of the views that are wrong (of all, where none is) the one of
            largest loss. None where losses are not known.
        loss: (N,) the loss from there. None where losses are not known.
        accuracy: () mean of ``correct``.
        by_number: (V,) `expected_worst` of k of these views, k = 1 to V: the first is the accuracy
            over all views, the last ``accuracy``.
    """

    correct: Tensor
    view: Tensor | None
    loss: Tensor | None
    accuracy: Tensor
    by_number: Tensor


def worst_of_k(correct: Tensor, losses: Tensor | None = None) -> Worst:
    """The worst of k views per image (Engstrom et al. 2019, 'Worst-of-k').

    They draw k = 10 turns and shifts for each image; here the views are those that are given, the
    same for all images or not.

    Args:
        correct: (V, N) bool, whether image n is right from view v.
        losses: (V, N) negative log-probabilities of the target, where the worst view is wanted.

    Returns:
        Accuracies in float64, NaN where there is no image.
    """
    right = correct.all(dim=0)
    view = loss = None
    if losses is not None:
        # A view that is right is never the worst of an image that is wrong from another.
        kept = losses.masked_fill(correct & ~right, -torch.inf)
        view = kept.argmax(dim=0)
        loss = losses.gather(0, view[None])[0]
    return Worst(right, view, loss, right.double().mean(), expected_worst(_histogram(correct)))


def expected_worst(histogram: Tensor) -> Tensor:
    """Expected accuracy from the worst of k views, drawn from V without replacement.

    An image that is right from m of V views is right from all k drawn with the hypergeometric
    probability C(m, k) / C(V, k) = Π_{i < k} (m - i) / (V - i).

    Args:
        histogram: (V + 1,) number of images that are right from 0, 1, ..., V views.

    Returns:
        (V,) float64, for k = 1 to V; NaN where there is no image.
    """
    right = torch.arange(len(histogram), device=histogram.device, dtype=torch.float64)
    before = right[:-1]
    chances = ((right[:, None] - before).clamp_min(0) / (len(before) - before)).cumprod(dim=1)
    return histogram.double() @ chances / histogram.sum()


class WorstOfK(Metric):
    """`expected_worst` over batches and processes.

    ``compute`` gives (V,), for k = 1 to V: the first is the accuracy over all views, the last the
    accuracy from the worst of all.

    Args:
        views: V.
    """

    full_state_update = False
    higher_is_better = True
    is_differentiable = False
    plot_lower_bound = 0.0
    plot_upper_bound = 1.0
    histogram: Tensor

    def __init__(self, views: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zeros = torch.zeros(views + 1, dtype=torch.long)
        self.add_state("histogram", zeros, dist_reduce_fx="sum")

    def update(self, correct: Tensor) -> None:
        """Add images.

        Args:
            correct: (V, B) bool, of all V views of B images.

        Raises:
            UserError: There are more or fewer views.
        """
        if len(correct) != len(self.histogram) - 1:
            raise UserError(
                f"the worst of {len(self.histogram) - 1} views needs the outcome of each of them "
                f"for every image; got those of {len(correct)} views"
            )
        self.histogram += _histogram(correct)

    def compute(self) -> Tensor:
        """(V,), see `expected_worst`."""
        return expected_worst(self.histogram)

    def plot(self, val: Tensor | Sequence[Tensor] | None = None, ax: Any = None) -> Any:
        """Draw accuracy against k, or the values that are given."""
        if val is not None:
            return self._plot(val, ax)
        drawn: Any = self._plot({"accuracy from the worst of k views": self.compute()}, ax)
        drawn[1].set_xlabel("k")
        drawn[1].set_xticks(range(views := len(self.histogram) - 1), range(1, views + 1))
        return drawn


def _histogram(correct: Tensor) -> Tensor:
    """(V + 1,) number of images that are right from 0, 1, ..., V of the views, from (V, N)."""
    return torch.bincount(correct.sum(dim=0), minlength=len(correct) + 1)
