"""Accuracy on attacked images, for every epsilon, image by image and summed up."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench.contracts import Model, class_recall, predicted_classes
from capsbench.profiling.evaluation_mode import evaluation_mode


class Outcome(NamedTuple):
    """What a model says of B attacked images, for each of E epsilons.

    Attributes:
        correct: (E, B) whether the image is wholly right, as `class_recall` counts.
        reached: (E, B) whether the class that was aimed at is taken for a true one: it is the
            likeliest class or, with M objects, among the M likeliest. None without an aim.
    """

    correct: Tensor
    reached: Tensor | None


@torch.no_grad()
def attacked_accuracy(
    model: Model, images: Tensor, targets: Tensor, aims: Tensor | None = None
) -> Outcome:
    """Judge attacked images by a model: the one that was attacked, or another (a transfer).

    Args:
        model: The model.
        images: (E, B, C, H, W) in [0, 1], `capsbench.measures._adversarial.Attacked.images`.
        targets: (B,) class indices, or (B, K) multi-hot.
        aims: (B,) the classes that were aimed at.
    """
    correct, reached = list[Tensor](), list[Tensor]()
    with evaluation_mode(model):
        for changed in images:
            log_probabilities = model.log_probabilities(model(changed))
            correct.append(class_recall(log_probabilities, targets) == 1)
            if aims is not None:
                reached.append(_reached(log_probabilities, targets, aims))
    return Outcome(torch.stack(correct), torch.stack(reached) if reached else None)


def _reached(log_probabilities: Tensor, targets: Tensor, aims: Tensor) -> Tensor:
    """(B,) whether the aims are among as many of the likeliest classes as there are objects."""
    return predicted_classes(log_probabilities, targets).gather(1, aims[:, None])[:, 0]


class AccuracyUnderAttack(Metric):
    """Shares of images by epsilon, over all batches and processes.

    ``accuracy``: of images that are right, (1/N) sum_n [x'_n is wholly right], over all images and
    not only those that were right before; ``blind``: of images whose attack had no direction, see
    `Attacked`; ``reached``, if targeted: of images taken for the class that was aimed at. Without
    an image a share is undefined, NaN.

    Args:
        count: E, the number of epsilons.
        targeted: Whether the attack aims at a class.
        kwargs: As for every metric of torchmetrics.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = None
    correct: Tensor
    blind: Tensor
    reached: Tensor
    total: Tensor

    def __init__(self, count: int, *, targeted: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.targeted = targeted
        for name in ("correct", "blind", "reached"):
            self.add_state(name, torch.zeros(count, dtype=torch.long), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, outcome: Outcome, blind: Tensor) -> None:
        """Count a batch.

        Args:
            outcome: What the model says of it, for E epsilons.
            blind: (E, B), `Attacked.blind`.
        """
        self.correct += outcome.correct.sum(dim=1)
        self.blind += blind.sum(dim=1)
        if outcome.reached is not None:
            self.reached += outcome.reached.sum(dim=1)
        self.total += outcome.correct.shape[1]

    def compute(self) -> dict[str, Tensor]:
        """The shares by name, each (E,) float64."""
        counts = {"accuracy": self.correct, "blind": self.blind}
        if self.targeted:
            counts["reached"] = self.reached
        return {name: count.double() / self.total for name, count in counts.items()}

    def plot(
        self, val: dict[str, Tensor] | Sequence[dict[str, Tensor]] | None = None, ax: Any = None
    ) -> Any:
        """Draw values that `compute` returned, by default those of now."""
        return self._plot(val, ax)
