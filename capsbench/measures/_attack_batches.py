"""Attacks on batches of images, and the classification of the attacked images."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from capsbench.contracts import Batch, Model, class_recall, predicted_classes
from capsbench.measures._adversarial import AttackedImages, fgsm, pgd, random_starts
from capsbench.profiling.evaluation_mode import evaluation_mode

AttackMethod = Literal["fgsm", "bim", "pgd"]
Outcomes = dict[str, Tensor]  # by metric, (E, N) bool: for each epsilon, image by image


class AttackBatch(NamedTuple):
    """A batch of images to attack, with the target classes of a targeted attack.

    Attributes:
        batch: The images.
        target_classes: (B,) a wrong class for each image; None for an untargeted attack.
    """

    batch: Batch
    target_classes: Tensor | None


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
    correct, success = list[Tensor](), list[Tensor]()
    with evaluation_mode(model):
        for changed in images:
            log_probabilities = model.log_probabilities(model(changed))
            correct.append(class_recall(log_probabilities, labels) == 1)
            if target_classes is not None:
                predicted = predicted_classes(log_probabilities, labels)
                success.append(predicted.gather(1, target_classes[:, None])[:, 0])
    outcomes = {"accuracy": torch.stack(correct)}
    return outcomes | ({"target_success": torch.stack(success)} if success else {})


def classify_batches(model: Model, batches: Sequence[AttackBatch]) -> Outcomes:
    """Classify unchanged images: the outcomes of an attack with a single epsilon of 0.

    Args:
        model: The evaluated model.
        batches: The images.
    """
    outcomes = [_classify(model, each, each.batch.images[None]) for each in batches]
    return _concatenate(outcomes, dim=1)


def attack_batches(
    method: AttackMethod,
    epsilons: Sequence[float],
    iterations: int,
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
        iterations: Number of steps, except for ``fgsm``.
        attacked: The model whose gradient is climbed.
        evaluated: The model that classifies the attacked images.
        batches: The images.
        advance: Called after each epsilon.

    Returns:
        (E, N) bool by metric: those of `attack_outcomes`, and ``zero_gradient``.
    """
    by_group = []
    # One gradient serves all epsilons of a single step; with several steps each has its own.
    groups = [tuple(epsilons)] if method == "fgsm" else [(epsilon,) for epsilon in epsilons]
    for group in groups:
        outcomes = []
        for each in batches:
            changed = _attack(method, group, iterations, attacked, each)
            outcome = _classify(evaluated, each, changed.images)
            outcomes.append(outcome | {"zero_gradient": changed.zero_gradient.cpu()})
        by_group.append(_concatenate(outcomes, dim=1))
        for _ in group:
            advance()
    return _concatenate(by_group, dim=0)


def _attack(
    method: AttackMethod,
    epsilons: Sequence[float],
    iterations: int,
    model: Model,
    attack_batch: AttackBatch,
) -> AttackedImages:
    batch, target_classes = attack_batch
    if method == "fgsm":
        return fgsm(model, batch.images, batch.targets, epsilons, target_classes)
    starts = None
    if method == "pgd":
        starts = random_starts(batch.index, model.image_shape, "starts of attacks")
    return pgd(
        model,
        batch.images,
        batch.targets,
        epsilons,
        target_classes,
        steps=iterations,
        starts=starts,
    )


def _classify(model: Model, attack_batch: AttackBatch, images: Tensor) -> Outcomes:
    """Classify images (E, B, C, H, W) by a model."""
    batch, target_classes = attack_batch
    outcomes = attack_outcomes(model, images, batch.targets, target_classes)
    return {metric: outcome.cpu() for metric, outcome in outcomes.items()}


def _concatenate(parts: Sequence[Outcomes], dim: int) -> Outcomes:
    """Concatenate outcomes of several batches (dim 1), or of several epsilons (dim 0)."""
    return {metric: torch.cat([part[metric] for part in parts], dim) for metric in parts[0]}
