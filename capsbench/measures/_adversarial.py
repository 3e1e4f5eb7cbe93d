"""Adversarial attacks: images that differ by at most epsilon in each pixel and mislead a model.

All attacks climb one loss, which treats every model equally: the negative log-probability of the
true class by `Model.log_probabilities`, or, for a targeted attack, the log-probability of the
target class. For an image with several objects it is the mean over its true classes. Epsilon bounds
the change of a pixel (L-infinity) in units of [0, 1]; changed images stay in [0, 1].

White box: images are attacked on the evaluated model. Transferred: on another model. A saturated
model has no gradient to climb and only looks robust; `AttackedImages.zero_gradient` marks it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.contracts import ImageShape, Model, one_hot
from capsbench.data.randomness import generator
from capsbench.errors import UserError
from capsbench.profiling.evaluation_mode import evaluation_mode

TOTAL_STEP = 2.5  # length of all steps together, in epsilons (Madry et al. 2018)


class AttackedImages(NamedTuple):
    """B attacked images for each of E epsilons.

    Attributes:
        images: (E, B, C, H, W) in [0, 1], of the images' dtype and on their device.
        zero_gradient: (E, B) bool, images whose gradient was exactly 0 (or NaN) in all pixels at
            every step, so that the attack had no direction.
    """

    images: Tensor
    zero_gradient: Tensor


def fgsm(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    target_classes: Tensor | None = None,
) -> AttackedImages:
    """Attack images by the fast gradient sign method, a single step.

    x' = clip(x + epsilon * sign(g), 0, 1), with g the gradient of the loss at x (Goodfellow et al.
    2015, 'Explaining and Harnessing Adversarial Examples', section 4). One gradient serves all
    epsilons.

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
    sizes = _sizes(epsilons, images)
    with evaluation_mode(model):
        gradient = loss_gradient(model, images, labels, target_classes)
    changed = _clip(images + sizes * gradient.sign(), images, sizes)
    return AttackedImages(changed, _is_zero(gradient).expand(len(sizes), -1))


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
        for size in _sizes(epsilons, images):
            point = images if starts is None else images + size * starts.to(images)
            point = _clip(point, images, size)
            always_zero = torch.ones(len(images), dtype=torch.bool, device=images.device)
            for _ in range(steps):
                gradient = loss_gradient(model, point, labels, target_classes)
                always_zero &= _is_zero(gradient)
                point = _clip(point + length * size * gradient.sign(), images, size)
            changed.append(point)
            zero_gradient.append(always_zero)
    return AttackedImages(torch.stack(changed), torch.stack(zero_gradient))


@torch.enable_grad()
def loss_gradient(
    model: Model, images: Tensor, labels: Tensor, target_classes: Tensor | None = None
) -> Tensor:
    """Compute the gradient of the loss that attacks climb, image by image.

    The losses of a batch are added, not averaged, so that each gradient is independent of the batch
    size. NaN counts as 0, no direction. Parameters get no gradient.

    Args:
        model: The model, in evaluation mode.
        images: (B, C, H, W) in [0, 1].
        labels: (B,) class indices, or (B, K) multi-hot.
        target_classes: (B,) class of a targeted attack for each image.

    Returns:
        (B, C, H, W).
    """
    points = images.detach().clone().requires_grad_()
    log_probabilities = model.log_probabilities(model(points))
    classes = labels if target_classes is None else target_classes
    classes = one_hot(classes, log_probabilities.shape[-1])
    weights = classes / classes.sum(dim=-1, keepdim=True)
    likelihood = (log_probabilities * weights).sum()
    loss = -likelihood if target_classes is None else likelihood
    if not loss.requires_grad:  # the model does not use the images, or detaches them
        return torch.zeros_like(points)
    (gradient,) = torch.autograd.grad(loss, points, allow_unused=True, materialize_grads=True)
    return gradient.nan_to_num(nan=0.0)


def wrong_classes(labels: Tensor, index: Tensor, num_classes: int, *names: int | str) -> Tensor:
    """Draw a wrong class for each image, uniformly, from a seeded table with a row for each image.

    Args:
        labels: (B,) class indices, or (B, K) multi-hot; a wrong class is none of them.
        index: (B,) each image's number in its source.
        num_classes: K.
        names: Names of the table.

    Returns:
        (B,) class indices, on the device of the labels.

    Raises:
        UserError: An image has no wrong class.
    """
    wrong = (one_hot(labels, num_classes) == 0).long()
    count = wrong.sum(dim=-1)
    if not count.all():
        raise UserError(
            f"a targeted attack aims at a wrong class, but an image holds all {num_classes} "
            "classes; attack it untargeted"
        )
    rows = index.cpu()
    table = torch.rand(int(rows.max()) + 1, generator=generator(*names), dtype=torch.float64)
    # Number of the drawn class among the wrong ones, from 1 to their count.
    number = (table[rows] * count.cpu()).long().to(labels.device) + 1
    return (wrong.cumsum(dim=-1) == number[:, None]).long().argmax(dim=-1)


def random_starts(index: Tensor, image_shape: ImageShape, *names: int | str) -> Tensor:
    """Draw the starts of attacks in the box around each image, uniform in [-1, 1].

    Each image has a separate generator, because a table of all images would be as large as the
    source. A start depends neither on the batch size nor on the order.

    Args:
        index: (B,) each image's number in its source.
        image_shape: (C, H, W).
        names: Names of the draw, such as a seed and the number of a restart.

    Returns:
        (B, C, H, W) fp32, on the CPU.
    """
    generators = [generator(*names, number) for number in index.tolist()]
    return torch.stack([2 * torch.rand(image_shape, generator=g) - 1 for g in generators])


def _sizes(epsilons: Sequence[float], images: Tensor) -> Tensor:
    """Return epsilons as (E, 1, 1, 1, 1), to be multiplied with images."""
    if not epsilons or min(epsilons) < 0:
        raise UserError(f"an attack needs epsilons of at least 0; got {list(epsilons)}")
    return images.new_tensor(list(epsilons))[:, None, None, None, None]


def _clip(changed: Tensor, images: Tensor, size: Tensor) -> Tensor:
    """Clip to [0, 1] and to the box around images; with a box of size 0 bit for bit."""
    low, high = (images - size).clamp_min(0), (images + size).clamp_max(1)
    return torch.clamp(changed, low, high)


def _is_zero(gradient: Tensor) -> Tensor:
    """Return (B,) bool, True if all of an image's gradient is 0."""
    return (gradient == 0).flatten(1).all(dim=1)
