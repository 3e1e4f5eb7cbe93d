"""Influence of each image on a value that is not a mean over images, such as a ratio of distances.

Such a value is a product of powers of means. Its linear part around the measured means gives every
image a number; the numbers have the value as their mean, and to first order they vary with the
drawn images as the value does (the infinitesimal jackknife; Efron 1982, chapter 6). Intervals and
differences over images and seeds are then computed as those of a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def influence_values(terms: Sequence[Tensor], powers: Sequence[float]) -> Tensor:
    """Return numbers of N images with mean Π_i mean(t_i)^{p_i}, the value, linear in each t_i.

    Args:
        terms: For each mean, the contributions of the images, (N,), not negative.
        powers: Power of each mean.

    Returns:
        (N,) float64: value x (1 + Σ_i p_i (t_i / mean(t_i) - 1)); not finite where a mean is 0.
    """
    rows = torch.stack(tuple(terms)).double()
    means, power = rows.mean(dim=1, keepdim=True), rows.new_tensor(powers)
    return (means[:, 0] ** power).prod() * (1 + power @ (rows / means - 1))


def difference_share_influence(first: Tensor, other: Tensor, total: Tensor) -> Tensor:
    """Return the influence values, (N,), of (Σ first - Σ other) / Σ total.

    Args:
        first: (N,) contributions of the images.
        other: (N,) contributions that are subtracted.
        total: (N,) contributions to the whole, not negative.
    """
    difference, total = first.double() - other.double(), total.double()
    value, whole = difference.sum() / total.sum(), total.mean()
    return value + (difference - value * total) / whole


def explained_share_influence(residual: Tensor, total: Tensor) -> Tensor:
    """Return the influence values, (N,), of 1 - Σ residual / Σ total, such as R².

    Args:
        residual: (N,) squared error of each image.
        total: (N,) squared distance of each image that is to be explained.
    """
    return 1 - influence_values([residual, total], [1, -1])
