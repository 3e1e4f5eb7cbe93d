"""Random draws of attacks, each a function of names and of the image's number in its source."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.contracts import ImageShape, one_hot
from capsbench.data.randomness import generator
from capsbench.errors import UserError


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


class SquareDraws(NamedTuple):
    """Draws of the Square attack for B images, fp32 on the CPU.

    Attributes:
        stripes: (B, C, 1, W) of -1 and 1, the sign of each vertical stripe of the first query.
        corners: (B, Q, 2) in [0, 1), the position of the window of each later query, y and x.
        signs: (B, Q, C) of -1 and 1, the sign in each channel of the window.
    """

    stripes: Tensor
    corners: Tensor
    signs: Tensor


def square_draws(
    index: Tensor, image_shape: ImageShape, queries: int, *names: int | str
) -> SquareDraws:
    """Draw windows and signs of the Square attack, with a separate generator for each image.

    Args:
        index: (B,) each image's number in its source.
        image_shape: (C, H, W).
        queries: Q; the first ones are the same for any number.
        names: Names of the draw.
    """
    channels, _, width = image_shape
    generators = [generator(*names, number) for number in index.tolist()]

    def uniform(*size: int) -> Tensor:
        return torch.stack([torch.rand(size, generator=each) for each in generators])

    stripes = uniform(channels, 1, width)
    windows = uniform(queries, 2 + channels)
    return SquareDraws(_signs(stripes), windows[..., :2], _signs(windows[..., 2:]))


def _signs(numbers: Tensor) -> Tensor:
    """Return 1 for numbers below a half, else -1."""
    return (numbers < 0.5).to(numbers.dtype) * 2 - 1
