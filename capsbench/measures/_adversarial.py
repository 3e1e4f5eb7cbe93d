"""Adversarial attacks: images that differ by at most epsilon in each pixel and mislead a model.

FGSM, BIM and PGD climb the cross-entropy by `Model.log_probabilities`, or, for a targeted attack,
the log-probability of the target class. Epsilon bounds the change of a pixel (L-infinity) in units
of [0, 1]; changed images stay in [0, 1]. APGD and Square are `capsbench.measures._apgd` and
`capsbench.measures._square`.

White box: images are attacked on the evaluated model. Transferred: on another model. A saturated
model has no gradient to climb and only looks robust; `AttackedImages.zero_gradient` marks it, and
`capsbench.measures._masked_gradients` compares attacks that need none.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.measures._attack_losses import loss_gradient
from capsbench.profiling.evaluation_mode import evaluation_mode

TOTAL_STEP = 2.5  # length of all steps together, in epsilons (Madry et al. 2018)


class AttackedImages(NamedTuple):
    """B attacked images for each of E epsilons.

    Attributes:
        images: (E, B, C, H, W) in [0, 1], of the images' dtype and on their device.
        passes: (E, B) int64, number of forward and backward passes of the attacked model.
        zero_gradient: (E, B) bool, images whose gradient was exactly 0 (or NaN) in all pixels at
            every step, so that the attack had no direction; None for an attack without gradients.
    """

    images: Tensor
    passes: Tensor
    zero_gradient: Tensor | None


def fgsm(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    target_classes: Tensor | None = None,
) -> AttackedImages:
    """Attack images by the fast gradient sign method, a single step.

    x' = clip(x + epsilon * sign(g), 0, 1), with g the gradient of the loss at x (Goodfellow et al.
    2015, 'Explaining and Harnessing Adversarial Examples', section 4). One gradient, of 2 passes,
    serves all epsilons.

    Args:
        model: The attacked model.
        images: (B, C, H, W) in [0, 1].
        labels: (B,) class indices, or (B, K) multi-hot.
        epsilons: E numbers of at least 0.
        target_classes: (B,) class of a targeted attack for each image (see `wrong_classes`).
            Default: untargeted.

    Raises:
        UserError: There is no epsilon, or a negative one.
    """
    sizes = box_sizes(epsilons, images)
    with evaluation_mode(model):
        gradient = loss_gradient(model, images, labels, target_classes).gradient
    changed = clip_to_box(images + sizes * gradient.sign(), images, sizes)
    passes = torch.full(changed.shape[:2], 2, device=images.device)
    return AttackedImages(changed, passes, is_zero(gradient).expand(len(sizes), -1))


def pgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    target_classes: Tensor | None = None,
    *,
    steps: int = 10,
    step: float | None = None,
    starts: Tensor | None = None,
) -> AttackedImages:
    """Attack images by projected gradient steps; without starts, the basic iterative method.

    x_0 = clip(x + epsilon * u), x_(i+1) = clip(x_i + step * epsilon * sign(g_i)), where g_i is the
    gradient of the loss at x_i, and clip restricts to [0, 1] and to epsilon around x. The last x_i
    is the result. With u = 0: BIM (Kurakin et al. 2017, 'Adversarial examples in the physical
    world', section 2.2); with u uniform in [-1, 1]: PGD (Madry et al. 2018, 'Towards Deep Learning
    Models Resistant to Adversarial Attacks', section 2.1). Epsilons follow one after the other, so
    that memory does not grow with their number.

    Args:
        model: The attacked model.
        images: (B, C, H, W) in [0, 1].
        labels: (B,) class indices, or (B, K) multi-hot.
        epsilons: E numbers of at least 0.
        target_classes: (B,) class of a targeted attack for each image. Default: untargeted.
        steps: Number of steps.
        step: Length of a step as a share of epsilon. Default: 2.5 / ``steps``, which leads from any
            start to any point in reach.
        starts: (B, C, H, W) in [-1, 1], u (see `random_starts`). Default: 0.

    Raises:
        UserError: There is no epsilon, or a negative one, no step, or one of no length.
    """
    length = TOTAL_STEP / max(steps, 1) if step is None else step
    if steps < 1 or length <= 0:
        raise UserError(
            f"an attack needs at least one step, of a length above 0; got {steps} of {length}"
        )
    changed, zero_gradient = list[Tensor](), list[Tensor]()
    with evaluation_mode(model):
        for size in box_sizes(epsilons, images):
            point = images if starts is None else images + size * starts.to(images)
            point = clip_to_box(point, images, size)
            always_zero = torch.ones(len(images), dtype=torch.bool, device=images.device)
            for _ in range(steps):
                gradient = loss_gradient(model, point, labels, target_classes).gradient
                always_zero &= is_zero(gradient)
                point = clip_to_box(point + length * size * gradient.sign(), images, size)
            changed.append(point)
            zero_gradient.append(always_zero)
    passes = torch.full((len(changed), len(images)), 2 * steps, device=images.device)
    return AttackedImages(torch.stack(changed), passes, torch.stack(zero_gradient))


def box_sizes(epsilons: Sequence[float], images: Tensor) -> Tensor:
    """Return epsilons as (E, 1, 1, 1, 1), to be multiplied with images.

    Raises:
        UserError: There is no epsilon, or a negative one.
    """
    if not epsilons or min(epsilons) < 0:
        raise UserError(f"an attack needs epsilons of at least 0; got {list(epsilons)}")
    return images.new_tensor(list(epsilons))[:, None, None, None, None]


def clip_to_box(changed: Tensor, images: Tensor, size: Tensor) -> Tensor:
    """Clip to [0, 1] and to the box around images; with a box of size 0 bit for bit."""
    low, high = (images - size).clamp_min(0), (images + size).clamp_max(1)
    return torch.clamp(changed, low, high)


def is_zero(gradient: Tensor) -> Tensor:
    """Return (B,) bool, True if all of an image's gradient is 0."""
    return (gradient == 0).flatten(1).all(dim=1)
