"""Losses of capsule networks, averaged over the batch."""

from __future__ import annotations

import math

from torch import Tensor
from torch.nn import functional as F

from capsbench.capsules.precision import full_precision


def batch_mean(losses: Tensor) -> Tensor:
    """Average the losses (B,) of images over the batch.

    A mean over no images is undefined. Here it is 0, with gradients of 0, so that sums over images
    stay right in however many batches or processes the images come.
    """
    return losses.mean() if len(losses) else losses.sum()


@full_precision
def margin_loss(
    presences: Tensor,
    targets: Tensor,
    *,
    present: float = 0.9,
    absent: float = 0.1,
    absent_weight: float = 0.5,
) -> Tensor:
    """Compute the margin loss: present classes long, absent ones short (Sabour 2017, eq. 4).

    Args:
        presences: (B, K), lengths of the class capsules.
        targets: (B, K), 1 for each class in the image and 0 for the others; several may be present.
        present: m+, the length above which the loss of a present class is zero.
        absent: m-, the length below which the loss of an absent class is zero.
        absent_weight: λ, weight of the absent classes.

    Returns:
        Scalar: the sum over classes, averaged over the batch.
    """
    short = targets * (present - presences).relu().square()
    long = absent_weight * (1 - targets) * (presences - absent).relu().square()
    return batch_mean((short + long).sum(dim=1))


@full_precision
def spread_loss(presences: Tensor, targets: Tensor, *, margin: float) -> Tensor:
    """Compute the spread loss: present classes above absent ones by a margin (Hinton 2018, eq. 3).

    Args:
        presences: (B, K), in [0, 1].
        targets: (B, K), 1 for each class in the image and 0 for the others. With several present
            the loss is summed over all pairs of a present and an absent class.
        margin: m, see `spread_margin` and `spread_margin_sigmoid`.

    Returns:
        Scalar: the sum over pairs, averaged over the batch.
    """
    pairs = targets[:, :, None] * (1 - targets)[:, None, :]
    gaps = presences[:, :, None] - presences[:, None, :]
    return batch_mean((pairs * (margin - gaps).relu().square()).sum(dim=(1, 2)))


def spread_margin(progress: float, *, start: float = 0.2, end: float = 0.9) -> float:
    """Return the margin of the spread loss, which rises linearly (Hinton 2018, section 4).

    Args:
        progress: Fraction of the training that is over, in [0, 1].
        start: Margin at the beginning; a small one prevents dead capsules early in the training.
        end: Margin at the end.
    """
    return start + (end - start) * progress


def spread_margin_sigmoid(progress: float) -> float:
    """Return the margin of the spread loss of the authors' code: a sigmoid from 0.21 to 0.99.

    The code has m = 0.2 + 0.79 sigmoid(min(10, step / 50,000 - 4)) and trains for 2,000,000 steps
    (google-research/capsule_em). Most of the rise is in the first fifth of the training; from a
    fraction of 0.35 on the margin is constant.

    Args:
        progress: Fraction of the training that is over, in [0, 1].
    """
    step = 2_000_000 * progress
    return 0.2 + 0.79 / (1 + math.exp(-min(10, step / 50_000 - 4)))


@full_precision
def cross_entropy(scores: Tensor, targets: Tensor) -> Tensor:
    """Compute the cross-entropy of the softmax over class scores.

    Args:
        scores: (B, K), logits.
        targets: (B, K), 1 for each class in the image and 0 for the others. Several present classes
            have equal shares; an image without any has a loss of zero.

    Returns:
        Scalar: the mean over the batch, 0 if it has no image. It is torch's own, which is not
        rounded as `batch_mean` is: another one would change the bits of recorded losses.
    """
    shares = targets / targets.sum(dim=1, keepdim=True).clamp_min(1)
    return F.cross_entropy(scores, shares) if len(scores) else scores.sum()
