"""Losses that attacks climb, image by image, and their gradients with respect to the images.

The cross-entropy is computed from `Model.log_probabilities`, the others from `Model.logits`, which
differ by a factor and a constant. All are larger the closer an image is to misleading the model.
For an image with several objects, the cross-entropy is the mean over its true classes; margins are
those of its least likely true class, since the image is misclassified as soon as one of its objects
is not recognized.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from capsbench.contracts import Model, class_recall, one_hot, predicted_classes

LossName = Literal["cross-entropy", "dlr"]
SMALLEST_SCALE = 1e-12  # of the quotient of `dlr`, as in the authors' code


class LossGradient(NamedTuple):
    """Loss of B images at a point, and its gradient.

    Attributes:
        loss: (B,); NaN is minus infinity, which is no progress.
        gradient: (B, C, H, W); NaN is 0, no direction.
        misled: (B,) bool, see `is_misled`.
    """

    loss: Tensor
    gradient: Tensor
    misled: Tensor


def cross_entropy(
    log_probabilities: Tensor, labels: Tensor, target_classes: Tensor | None = None
) -> Tensor:
    """Return -log p of the true class (B,), or log p of the target class of a targeted attack.

    Args:
        log_probabilities: (B, K).
        labels: (B,) class indices, or (B, K) multi-hot.
        target_classes: (B,) class of a targeted attack for each image. Default: untargeted.
    """
    classes = labels if target_classes is None else target_classes
    classes = one_hot(classes, log_probabilities.shape[-1])
    weights = classes / classes.sum(dim=-1, keepdim=True)
    likelihood = (log_probabilities * weights).sum(dim=-1)
    return -likelihood if target_classes is None else likelihood


def margin(logits: Tensor, labels: Tensor, target_classes: Tensor | None = None) -> Tensor:
    """Return the margin (B,) by which a wrong class is more likely than the true one.

    z_r - z_y, where y is the true class, and r the most likely wrong one or that of the targeted
    attack (Andriushchenko et al. 2020, section 3.1, with the other sign). Of several objects, y is
    the least likely true class.
    """
    present = one_hot(labels, logits.shape[-1]) > 0
    true = logits.masked_fill(~present, torch.inf).amin(dim=-1)
    if target_classes is None:
        rival = logits.masked_fill(present, -torch.inf).amax(dim=-1)
    else:
        rival = logits.gather(1, target_classes[:, None])[:, 0]
    return rival - true


def dlr(logits: Tensor, labels: Tensor, target_classes: Tensor | None = None) -> Tensor:
    """Return the difference of logits ratio (B,): the margin relative to the spread of the top.

    -(z_y - max_{i != y} z_i) / (z_1 - z_3), where z_1 >= z_2 >= ... are the sorted logits; for a
    target class t, -(z_y - z_t) / (z_1 - (z_3 + z_4) / 2) (Croce and Hein 2020, 'Reliable
    Evaluation of Adversarial Robustness with an Ensemble of Diverse Parameter-free Attacks', eq. 6
    and 7). Neither a factor nor a constant on the logits changes it: it does not saturate, and does
    not depend on a convention of probabilities. Of M objects, z_3 is z_(M+2) and z_4 is z_(M+3), or
    the last. Of two classes, and of three if targeted, it is the margin: the quotient would be -1
    wherever the true class is the most likely one, and the target, if any, the least likely.
    """
    distance = margin(logits, labels, target_classes)
    num_classes = logits.shape[-1]
    if num_classes < (3 if target_classes is None else 4):
        return distance
    ranked = logits.sort(dim=-1, descending=True).values
    objects = one_hot(labels, num_classes).sum(dim=-1, keepdim=True).long()
    lower = ranked.gather(1, (objects + 1).clamp_max(num_classes - 1))[:, 0]
    if target_classes is not None:
        fourth = ranked.gather(1, (objects + 2).clamp_max(num_classes - 1))[:, 0]
        lower = (lower + fourth) / 2
    return distance / (ranked[:, 0] - lower + SMALLEST_SCALE)


LOSSES: dict[LossName, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "cross-entropy": cross_entropy,
    "dlr": dlr,
}


def is_misled(logits: Tensor, labels: Tensor, target_classes: Tensor | None = None) -> Tensor:
    """Return (B,) bool, True if the attack has reached its aim.

    An untargeted attack has if any object is not predicted, see `class_recall`; a targeted one if
    the target class is the predicted one, or among the M predicted ones for M objects.
    """
    if target_classes is None:
        return class_recall(logits, labels) < 1
    predicted = predicted_classes(logits, labels)
    return predicted.gather(1, target_classes[:, None])[:, 0]


@torch.enable_grad()
def loss_gradient(
    model: Model,
    images: Tensor,
    labels: Tensor,
    target_classes: Tensor | None = None,
    loss: LossName = "cross-entropy",
) -> LossGradient:
    """Compute a loss and its gradient, image by image.

    The losses of a batch are added, not averaged, so that each gradient is independent of the batch
    size. Parameters get no gradient.

    Args:
        model: The model, in evaluation mode.
        images: (B, C, H, W) in [0, 1].
        labels: (B,) class indices, or (B, K) multi-hot.
        target_classes: (B,) class of a targeted attack for each image. Default: untargeted.
        loss: The loss.
    """
    points = images.detach().clone().requires_grad_()
    prediction = model(points)
    logits = model.logits(prediction)  # no exponent rounds what decides for a class
    scores = logits if loss == "dlr" else model.log_probabilities(prediction)
    losses = LOSSES[loss](scores, labels, target_classes)
    if losses.requires_grad:
        (gradient,) = torch.autograd.grad(
            losses.sum(), points, allow_unused=True, materialize_grads=True
        )
    else:  # the model does not use the images, or detaches them
        gradient = torch.zeros_like(points)
    return LossGradient(
        losses.detach().nan_to_num(nan=-torch.inf, posinf=torch.inf, neginf=-torch.inf),
        gradient.nan_to_num(nan=0.0),
        is_misled(logits.detach(), labels, target_classes),
    )
