"""Attacks on batches of images, and the classification of the attacked images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from capsbench.contracts import Model
from capsbench.measures._adversarial import AttackedImages, fgsm, pgd
from capsbench.measures._apgd import apgd
from capsbench.measures._attack_draws import random_starts, square_draws
from capsbench.measures._attack_losses import LossName, is_misled
from capsbench.measures._square import square
from capsbench.profiling.evaluation_mode import evaluation_mode

AttackMethod = Literal["fgsm", "bim", "pgd", "apgd-ce", "apgd-dlr", "square"]
RANDOM: tuple[AttackMethod, ...] = ("pgd", "apgd-ce", "apgd-dlr", "square")  # can be restarted
APGD_LOSSES: dict[AttackMethod, LossName] = {"apgd-ce": "cross-entropy", "apgd-dlr": "dlr"}
Outcomes = dict[str, Tensor]  # by metric, (E, N): for each epsilon, image by image


class AttackBudget(NamedTuple):
    """Steps, restarts and queries of attacks.

    Attributes:
        steps: Number of steps of ``bim``, ``pgd`` and APGD.
        restarts: Number of random starts of an attack that has any; of all but the first, only
            images that no earlier one misled are attacked.
        queries: Number of queries of ``square``.
    """

    steps: int
    restarts: int
    queries: int


@dataclass(frozen=True)
class AttackBatch:
    """A batch of images to attack, with the target classes of a targeted attack.

    Attributes:
        images: (B, C, H, W) in [0, 1].
        labels: (B,) class indices, or (B, K) multi-hot.
        index: (B,) each image's number in its source.
        target_classes: (B,) a wrong class for each image; None for an untargeted attack.
    """

    images: Tensor
    labels: Tensor
    index: Tensor
    target_classes: Tensor | None = None

    def take(self, rows: Tensor) -> AttackBatch:
        """Return some of the images, (n,) rows."""
        present = {name: each for name, each in vars(self).items() if each is not None}
        return replace(self, **{name: each[rows] for name, each in present.items()})


@torch.no_grad()
def attack_outcomes(
    model: Model, images: Tensor, labels: Tensor, target_classes: Tensor | None = None
) -> dict[str, Tensor]:
    """Classify attacked images by a model: the attacked one, or another (a transfer).

    Args:
        model: The evaluated model.
        images: (E, B, C, H, W) in [0, 1], from `AttackedImages`.
        labels: (B,) class indices, or (B, K) multi-hot.
        target_classes: (B,) class of a targeted attack for each image.

    Returns:
        (E, B) bool by metric. ``accuracy``: all objects of the image are predicted, see
        `class_recall`. ``target_success``, of a targeted attack: the target class is the predicted
        one, or among the M predicted ones for M objects.
    """
    accuracy, success = list[Tensor](), list[Tensor]()
    with evaluation_mode(model):
        for changed in images:
            logits = model.logits(model(changed))
            accuracy.append(~is_misled(logits, labels))
            if target_classes is not None:
                success.append(is_misled(logits, labels, target_classes))
    outcomes = {"accuracy": torch.stack(accuracy)}
    return outcomes | ({"target_success": torch.stack(success)} if success else {})


def classify_batches(model: Model, batches: Sequence[AttackBatch]) -> Outcomes:
    """Classify unchanged images: the outcomes of an attack with a single epsilon of 0.

    Args:
        model: The evaluated model.
        batches: The images.
    """
    outcomes = [_classify(model, each, each.images[None]) for each in batches]
    return _concatenate(outcomes, dim=1)


def attack_batches(
    method: AttackMethod,
    epsilons: Sequence[float],
    budget: AttackBudget,
    *,
    attacked: Model,
    evaluated: Model,
    batches: Sequence[AttackBatch],
    advance: Callable[[], None],
) -> Outcomes:
    """Attack images on one model, and classify them by another or the same.

    Args:
        method: The attack.
        epsilons: E epsilons.
        budget: Steps, restarts and queries.
        attacked: The model that is attacked. If it is not the evaluated one, APGD and Square go on
            after it is misled, because images far beyond its boundary transfer better.
        evaluated: The model that classifies the attacked images.
        batches: The images.
        advance: Called after each epsilon.

    Returns:
        (E, N) by metric: bool those of `attack_outcomes` and, of an attack with gradients,
        ``zero_gradient``; int64 ``passes``, see `AttackedImages`.
    """
    by_group = []
    # One gradient serves all epsilons of a single step; other attacks treat each alone.
    groups = [tuple(epsilons)] if method == "fgsm" else [(epsilon,) for epsilon in epsilons]
    for group in groups:
        outcomes = []
        for each in batches:
            changed = _restarted(
                method, group, budget, attacked, each, early_stop=attacked is evaluated
            )
            outcome = _classify(evaluated, each, changed.images)
            outcome["passes"] = changed.passes.cpu()
            if changed.zero_gradient is not None:
                outcome["zero_gradient"] = changed.zero_gradient.cpu()
            outcomes.append(outcome)
        by_group.append(_concatenate(outcomes, dim=1))
        for _ in group:
            advance()
    return _concatenate(by_group, dim=0)


def _restarted(
    method: AttackMethod,
    epsilons: Sequence[float],
    budget: AttackBudget,
    model: Model,
    batch: AttackBatch,
    *,
    early_stop: bool,
) -> AttackedImages:
    """Attack images; those that do not mislead the attacked model, again from other starts."""
    images, passes, zero_gradient = _attack(
        method, epsilons, budget, model, batch, 0, early_stop=early_stop
    )
    rows = torch.arange(len(batch.images), device=images.device)
    for restart in range(1, budget.restarts if method in RANDOM else 1):
        tried = batch.take(rows)
        (points,) = images[:, rows]  # attacks with random starts treat each epsilon alone
        with torch.no_grad(), evaluation_mode(model):
            logits = model.logits(model(points))
        passes[:, rows] += 1
        rows = rows[~is_misled(logits, tried.labels, tried.target_classes)]
        if not len(rows):
            break
        again = _attack(
            method, epsilons, budget, model, batch.take(rows), restart, early_stop=early_stop
        )
        images[:, rows] = again.images
        passes[:, rows] += again.passes
        if zero_gradient is not None and again.zero_gradient is not None:
            zero_gradient[:, rows] &= again.zero_gradient
    return AttackedImages(images, passes, zero_gradient)


def _attack(
    method: AttackMethod,
    epsilons: Sequence[float],
    budget: AttackBudget,
    model: Model,
    batch: AttackBatch,
    restart: int,
    *,
    early_stop: bool,
) -> AttackedImages:
    names = () if restart == 0 else (restart,)
    shape = model.image_shape
    given = (model, batch.images, batch.labels, epsilons, batch.target_classes)
    if method == "fgsm":
        return fgsm(*given)
    if method == "bim":
        return pgd(*given, steps=budget.steps)
    if method == "square":
        draws = square_draws(batch.index, shape, budget.queries, "squares of attacks", *names)
        return square(*given, draws=draws, queries=budget.queries, early_stop=early_stop)
    starts = random_starts(batch.index, shape, "starts of attacks", *names)
    if method == "pgd":
        return pgd(*given, steps=budget.steps, starts=starts)
    return apgd(
        *given,
        starts=starts,
        loss=APGD_LOSSES[method],
        steps=budget.steps,
        early_stop=early_stop,
    )


def _classify(model: Model, batch: AttackBatch, images: Tensor) -> Outcomes:
    """Classify images (E, B, C, H, W) by a model."""
    outcomes = attack_outcomes(model, images, batch.labels, batch.target_classes)
    return {metric: outcome.cpu() for metric, outcome in outcomes.items()}


def _concatenate(parts: Sequence[Outcomes], dim: int) -> Outcomes:
    """Concatenate outcomes of several batches (dim 1), or of several epsilons (dim 0)."""
    return {metric: torch.cat([part[metric] for part in parts], dim) for metric in parts[0]}
