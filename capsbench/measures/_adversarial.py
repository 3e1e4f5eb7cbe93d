"""Attacks: images that differ by at most epsilon in each pixel, made so that a model errs.

Both climb one loss, which treats every model alike: the negative log-probability of the true class
by `Model.log_probabilities`, or, where a class is aimed at, the log-probability of that class. An
image with several objects has the mean over its true classes as its loss. Epsilon bounds the change
of a pixel (L-infinity) in units of [0, 1]; a changed image stays in [0, 1].

White box: the images are made on the model that is judged. Transferred: they are made on another.
A saturated model has no gradient to climb, and only looks robust: `Attacked.blind` tells where.
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

MADRY_REACH = 2.5  # how far all steps go together, in epsilons (Madry et al. 2018)


class Attacked(NamedTuple):
    """What an attack made of B images, for each of E epsilons.

    Attributes:
        images: (E, B, C, H, W) in [0, 1], of the images' dtype and on their device.
        blind: (E, B) whether the gradient was exactly 0 (or not a number) in all pixels at every
            step, so that the attack had no direction at all.
    """

    images: Tensor
    blind: Tensor


def fgsm(
    model: Model,
    images: Tensor,
    targets: Tensor,
    epsilons: Sequence[float],
    aims: Tensor | None = None,
) -> Attacked:
    """Attack by one step: the fast gradient sign method.

    x' = clip(x + epsilon * sign(g), 0, 1), with g the gradient of the loss at x (Goodfellow et al.
    2015, 'Explaining and Harnessing Adversarial Examples', section 4). One gradient serves all
    epsilons.

    Args:
        model: The model that the attacker knows.
        images: (B, C, H, W) in [0, 1].
        targets: (B,) class indices, or (B, K) multi-hot.
        epsilons: E numbers of at least 0.
        aims: (B,) the class that each image shall be taken for (see `wrong_classes`); left out,
            any wrong class will do.

    Raises:
        UserError: There is no epsilon, or a negative one.
    """
    sizes = _sizes(epsilons, images)
    with evaluation_mode(model):
        gradient = loss_gradient(model, images, targets, aims)
    changed = _within(images + sizes * gradient.sign(), images, sizes)
    return Attacked(changed, _is_zero(gradient).expand(len(sizes), -1))


def pgd(
    model: Model,
    images: Tensor,
    targets: Tensor,
    epsilons: Sequence[float],
    aims: Tensor | None = None,
    *,
    steps: int = 10,
    step: float | None = None,
    starts: Tensor | None = None,
) -> Attacked:
    """Attack by projected gradient steps; without random starts, the basic iterative method.

    x_0 = clip(x + epsilon * u), x_(i+1) = clip(x_i + step * epsilon * sign(g_i)), where g_i is the
    gradient of the loss at x_i and clip keeps to [0, 1] and to epsilon around x. The last x_i is
    the attack's. With u = 0: BIM (Kurakin et al. 2017, 'Adversarial examples in the physical
    world', section 2.2); with u uniform in [-1, 1]: PGD (Madry et al. 2018, 'Towards Deep Learning
    Models Resistant to Adversarial Attacks', section 2.1). Epsilons follow one after the other, so
    that memory does not grow with their number.

    Args:
        model: The model that the attacker knows.
        images: (B, C, H, W) in [0, 1].
        targets: (B,) class indices, or (B, K) multi-hot.
        epsilons: E numbers of at least 0.
        aims: (B,) the class that each image shall be taken for; left out, any wrong class will do.
        steps: Number of steps.
        step: Length of a step as a share of epsilon; left out, 2.5 / ``steps``, which leads from
            any start to any place.
        starts: (B, C, H, W) in [-1, 1], u (see `random_starts`); left out, 0.

    Raises:
        UserError: There is no epsilon, or a negative one, no step, or one of no length.
    """
    length = MADRY_REACH / max(steps, 1) if step is None else step
    if steps < 1 or length <= 0:
        raise UserError(
            f"an attack needs at least one step, of a length above 0; got {steps} of {length}"
        )
    changed, blind = list[Tensor](), list[Tensor]()
    with evaluation_mode(model):
        for size in _sizes(epsilons, images):
            point = images if starts is None else images + size * starts.to(images)
            point = _within(point, images, size)
            lost = torch.ones(len(images), dtype=torch.bool, device=images.device)
            for _ in range(steps):
                gradient = loss_gradient(model, point, targets, aims)
                lost &= _is_zero(gradient)
                point = _within(point + length * size * gradient.sign(), images, size)
            changed.append(point)
            blind.append(lost)
    return Attacked(torch.stack(changed), torch.stack(blind))


@torch.enable_grad()
def loss_gradient(
    model: Model, images: Tensor, targets: Tensor, aims: Tensor | None = None
) -> Tensor:
    """The gradient of the loss that attacks climb, image by image.

    The losses of a batch are added, not averaged, so that none depends on how many there are. What
    is not a number counts as 0, no direction. Parameters get no gradient.

    Args:
        model: The model, in evaluation mode.
        images: (B, C, H, W) in [0, 1].
        targets: (B,) class indices, or (B, K) multi-hot.
        aims: (B,) the class that each image shall be taken for.

    Returns:
        (B, C, H, W).
    """
    points = images.detach().clone().requires_grad_()
    log_probabilities = model.log_probabilities(model(points))
    classes = one_hot(targets if aims is None else aims, log_probabilities.shape[-1])
    shares = classes / classes.sum(dim=-1, keepdim=True)
    reward = (log_probabilities * shares).sum()
    climbed = -reward if aims is None else reward
    if not climbed.requires_grad:  # the model does not look at the images, or hides that it does
        return torch.zeros_like(points)
    (gradient,) = torch.autograd.grad(climbed, points, allow_unused=True, materialize_grads=True)
    return gradient.nan_to_num(nan=0.0)


def wrong_classes(targets: Tensor, index: Tensor, num_classes: int, *names: int | str) -> Tensor:
    """A wrong class for each image, uniform, from a seeded table with a row for each image.

    Args:
        targets: (B,) class indices, or (B, K) multi-hot: a wrong class is none of them.
        index: (B,) each image's number in its source.
        num_classes: K.
        names: Names of the table.

    Returns:
        (B,) class indices, on the device of the targets.

    Raises:
        UserError: There is no wrong class.
    """
    wrong = (one_hot(targets, num_classes) == 0).long()
    count = wrong.sum(dim=-1)
    if not count.all():
        raise UserError(
            f"a targeted attack aims at a wrong class, but an image holds all {num_classes} "
            "classes; attack it untargeted"
        )
    rows = index.cpu()
    table = torch.rand(int(rows.max()) + 1, generator=generator(*names), dtype=torch.float64)
    # The number of the wrong class that is taken, from 1 to their count.
    number = (table[rows] * count.cpu()).long().to(targets.device) + 1
    return (wrong.cumsum(dim=-1) == number[:, None]).long().argmax(dim=-1)


def random_starts(index: Tensor, image_shape: ImageShape, *names: int | str) -> Tensor:
    """Where in the box around each image an attack starts, uniform in [-1, 1].

    Each image has a generator of its own, since a table with all of a source's images would be as
    large as the source; no batch size or order gives an image another start.

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
    """(E, 1, 1, 1, 1), to be multiplied with images."""
    if not epsilons or min(epsilons) < 0:
        raise UserError(f"an attack needs epsilons of at least 0; got {list(epsilons)}")
    return images.new_tensor(list(epsilons))[:, None, None, None, None]


def _within(changed: Tensor, images: Tensor, size: Tensor) -> Tensor:
    """Keep to [0, 1] and to the box around images; with a box of size 0 bit for bit."""
    low, high = (images - size).clamp_min(0), (images + size).clamp_max(1)
    return torch.clamp(changed, low, high)


def _is_zero(gradient: Tensor) -> Tensor:
    """(B,) whether nothing of an image's gradient differs from 0."""
    return (gradient == 0).flatten(1).all(dim=1)
