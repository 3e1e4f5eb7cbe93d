"""Means of Lie derivatives over images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

ROUNDING = 1e-6  # fp32: distances below this share of |f(x)| count as 0


class MeanLieDerivative(Metric):
    """Means of Lie derivatives L f(x) over batches and processes.

    * ``absolute``: ``E mean_c |L f_c(x)|``, over the numbers that f returns (end to end, as in the
      code of Gruver et al. 2022).
    * ``squared``: ``E |L f(x)|²``, a sum of squares (the paper divides it by their number).
    * ``relative``: ``sqrt(E |L f(x)|² / E |f(x) - f(x')|²)`` over distinct images x, x', a share of
      the distance between images, by which layers and networks can be compared. It is NaN if f is
      constant or there are fewer than two images; the others are NaN without an image.

    Args:
        shape: Shape of f(x) for one image, such as (K,).
        **kwargs: Arguments of ``torchmetrics.Metric``.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    absolute: Tensor
    squared: Tensor
    first: Tensor
    second: Tensor
    total: Tensor

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zero = torch.zeros((), dtype=torch.float64)
        for name in ("absolute", "squared", "second"):
            self.add_state(name, zero.clone(), dist_reduce_fx="sum")
        self.add_state("first", zero.new_zeros(*shape), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, value: Tensor, derivative: Tensor) -> None:
        """Add a batch.

        Args:
            value: (B, ...) f(x).
            derivative: (B, ...) L f(x).
        """
        value, derivative = value.double(), derivative.double()
        self.absolute += derivative.abs().flatten(1).mean(dim=1).sum()
        self.squared += derivative.square().sum()
        self.first += value.sum(dim=0)
        self.second += value.square().sum()
        self.total += len(value)

    def compute(self) -> dict[str, Tensor]:
        """Return the means by name, 0-d float64."""
        n = self.total.double()
        # E |f(x) - f(x')|² over distinct pairs, from the moments.
        distance = 2 * (self.second - self.first.square().sum() / n) / (n - 1)
        distance = distance.where(distance > ROUNDING**2 * self.second / n, math.nan)
        return {
            "absolute": self.absolute / n,
            "squared": self.squared / n,
            "relative": (self.squared / n / distance).sqrt(),
        }
