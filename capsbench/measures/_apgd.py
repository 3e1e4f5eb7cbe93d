"""APGD: projected gradient steps whose length adapts to each image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import torch
from torch import Tensor

from capsbench.contracts import Model
from capsbench.errors import UserError
from capsbench.measures._adversarial import AttackedImages, box_sizes, clip_to_box, is_zero
from capsbench.measures._attack_losses import LossGradient, LossName, loss_gradient
from capsbench.profiling.evaluation_mode import evaluation_mode

MOMENTUM = 0.75  # alpha, the weight of the new step
LEAST_INCREASES = 0.75  # rho, share of steps that have to increase the loss


def apgd(
    model: Model,
    images: Tensor,
    labels: Tensor,
    epsilons: Sequence[float],
    target_classes: Tensor | None = None,
    *,
    starts: Tensor,
    loss: LossName = "cross-entropy",
    steps: int = 20,
    early_stop: bool = True,
) -> AttackedImages:
    """Attack images by gradient steps with momentum and a step length that adapts to each image.

    Croce and Hein (2020, 'Reliable Evaluation of Adversarial Robustness with an Ensemble of Diverse
    Parameter-free Attacks', algorithm 1), with P the clip to [0, 1] and to epsilon around x:

        z_(k+1) = P(x_k + eta * sign(g_k))
        x_(k+1) = P(x_k + 0.75 (z_(k+1) - x_k) + 0.25 (x_k - x_(k-1))), and x_1 = z_1

    eta is 2 epsilon. At each of the `checkpoints` it is halved, and the image goes back to its
    point of the largest loss, if less than 0.75 of the steps since the last checkpoint increased
    the loss, or if neither eta nor the largest loss has changed since then. As in the authors'
    code, x_w is what checkpoint w compares and replaces; the paper replaces x_(w+1).

    Images never wait for each other: what is decided for one is a mask, and the device is read only
    at checkpoints, where images that are misled leave the batch.

    Args:
        model: The attacked model.
        images: (B, C, H, W) in [0, 1].
        labels: (B,) class indices, or (B, K) multi-hot.
        epsilons: E numbers of at least 0.
        target_classes: (B,) class of a targeted attack for each image. Default: untargeted.
        starts: (B, C, H, W) in [-1, 1], see `random_starts`.
        loss: The loss, see `capsbench.measures._attack_losses`.
        steps: Number of steps.
        early_stop: Return the first point that misleads the model, and stop there. Else return the
            point of the largest loss, which transfers better to other models.

    Raises:
        UserError: There is no step, no epsilon, or a negative one.
    """
    if steps < 1:
        raise UserError(f"an attack needs at least one step; got {steps}")

    def evaluate(points: Tensor, classes: Tensor, targets: Tensor | None) -> LossGradient:
        return loss_gradient(model, points, classes, targets, loss)

    with evaluation_mode(model):
        attacked = [
            _climb(
                evaluate,
                images,
                labels,
                target_classes,
                start=clip_to_box(images + size * starts.to(images), images, size),
                size=size,
                steps=steps,
                early_stop=early_stop,
            )
            for size in box_sizes(epsilons, images)
        ]
    return AttackedImages(*(torch.stack(each) for each in zip(*attacked, strict=True)))


def checkpoints(steps: int) -> dict[int, int]:
    """Return the steps w_j at which the length of steps may change, before the last one.

    w_j is p_j times the number of steps, rounded up, with p_0 = 0, p_1 = 0.22 and p_(j+1) = p_j +
    max(p_j - p_(j-1) - 0.03, 0.06) (Croce and Hein 2020, section 3.3).

    Returns:
        By w_j, the number of steps since the checkpoint before.
    """
    places, before, percent = [0], 0, 22
    while percent < 100:
        places.append(-(-percent * steps // 100))
        before, percent = percent, percent + max(percent - before - 3, 6)
    return {here: here - last for last, here in pairwise(places) if last < here < steps}


@dataclass
class _Ascent:
    """The state of n images of a batch that are still attacked.

    Attributes:
        rows: (n,) rows in the batch.
        images: (n, C, H, W) the unchanged images.
        labels: (n,) or (n, K).
        target_classes: (n,), or None.
        point: x_k.
        previous: x_(k-1).
        loss: (n,) at ``point``.
        gradient: (n, C, H, W) at ``point``.
        misled: (n,) bool, True if ``point`` misleads the model.
        best: The point of the largest loss.
        best_loss: (n,) there.
        best_gradient: (n, C, H, W) there.
        length: eta, (n, 1, 1, 1).
        increases: (n,) number of steps since the last checkpoint that increased the loss.
        halved: (n,) bool, True if eta was halved at the last checkpoint.
        checked_loss: (n,) ``best_loss`` at the last checkpoint.
    """

    rows: Tensor
    images: Tensor
    labels: Tensor
    target_classes: Tensor | None
    point: Tensor
    previous: Tensor
    loss: Tensor
    gradient: Tensor
    misled: Tensor
    best: Tensor
    best_loss: Tensor
    best_gradient: Tensor
    length: Tensor
    increases: Tensor
    halved: Tensor
    checked_loss: Tensor

    def take(self, rows: Tensor) -> _Ascent:
        """Return some of the images, (m,) of the n."""
        present = {name: each for name, each in vars(self).items() if each is not None}
        return replace(self, **{name: each[rows] for name, each in present.items()})

    def next_point(self, size: Tensor, momentum: float) -> Tensor:
        """Return x_(k+1)."""
        ahead = self.point + self.length * self.gradient.sign()
        ahead = clip_to_box(ahead, self.images, size)
        moved = self.point + momentum * (ahead - self.point)
        moved = moved + (1 - momentum) * (self.point - self.previous)
        return clip_to_box(moved, self.images, size)

    def move(self, point: Tensor, at_point: LossGradient) -> None:
        """Go to a point, whose loss and gradient are known."""
        self.increases = self.increases + (at_point.loss > self.loss)
        self.previous, self.point = self.point, point
        self.loss, self.gradient, self.misled = at_point
        better = self.loss > self.best_loss
        self.best_loss = torch.where(better, self.loss, self.best_loss)
        self.best = torch.where(better[:, None, None, None], point, self.best)
        self.best_gradient = torch.where(
            better[:, None, None, None], self.gradient, self.best_gradient
        )

    def adapt(self, steps: int) -> None:
        """Halve the steps of images that gain too little, and take them back to their best point.

        Args:
            steps: Number of steps since the last checkpoint.
        """
        stagnant = ~self.halved & (self.best_loss == self.checked_loss)
        self.halved = (self.increases < LEAST_INCREASES * steps) | stagnant
        back = self.halved[:, None, None, None]
        self.length = torch.where(back, self.length / 2, self.length)
        self.point = torch.where(back, self.best, self.point)
        self.gradient = torch.where(back, self.best_gradient, self.gradient)
        self.increases = torch.zeros_like(self.increases)
        self.checked_loss = self.best_loss


def _climb(
    evaluate: Callable[[Tensor, Tensor, Tensor | None], LossGradient],
    images: Tensor,
    labels: Tensor,
    target_classes: Tensor | None,
    *,
    start: Tensor,
    size: Tensor,
    steps: int,
    early_stop: bool,
) -> AttackedImages:
    """Attack images at one epsilon; the result has no axis of epsilons.

    Args:
        evaluate: Function of points, labels and target classes.
        images: (B, C, H, W).
        labels: (B,) or (B, K).
        target_classes: (B,), or None.
        start: x_0.
        size: Epsilon, (1, 1, 1, 1).
        steps: Number of steps.
        early_stop: See `apgd`.
    """
    rows = torch.arange(len(images), device=images.device)
    loss, gradient, misled = evaluate(start, labels, target_classes)
    state = _Ascent(
        *(rows, images, labels, target_classes, start, start, loss, gradient, misled),
        *(start, loss, gradient, (2 * size).expand(len(images), 1, 1, 1)),
        *(torch.zeros_like(rows), torch.zeros_like(misled), loss),
    )
    result = start.clone()
    # The gradient of an image that misleads the model already is of no use.
    passes, always_zero = torch.full_like(rows, 2), is_zero(gradient) & ~misled
    checks = checkpoints(steps)
    for number in range(1, steps + 1):
        point = state.next_point(size, 1.0 if number == 1 else MOMENTUM)
        if early_stop:
            point = torch.where(state.misled[:, None, None, None], state.point, point)
        state.move(point, evaluate(point, state.labels, state.target_classes))
        passes[state.rows] += 2
        always_zero[state.rows] &= is_zero(state.gradient) & ~state.misled
        if number in checks and early_stop:
            result[state.rows] = state.point
            remaining = (~state.misled).nonzero()[:, 0]
            if not len(remaining):
                return AttackedImages(result, passes, always_zero)
            state = state.take(remaining)
        if number in checks:
            state.adapt(checks[number])
    stay = state.misled if early_stop else torch.zeros_like(state.misled)
    result[state.rows] = torch.where(stay[:, None, None, None], state.point, state.best)
    return AttackedImages(result, passes, always_zero)
