"""What each image adds to a value that is no mean over images: a share, or a ratio of distances.

Such a value is a product of powers of means. Its linear part at the means that were found gives
every image a number; these have the value as their mean, and vary as it does, to first order, with
the images that are drawn (the infinitesimal jackknife; Efron 1982, chapter 6). So intervals and
differences over images and seeds are found as those of a mean.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def linearised(terms: Sequence[Tensor], powers: Sequence[float]) -> Tensor:
    """Numbers of N images whose mean is Π_i mean(t_i)^{p_i}, the value, linear in each t_i.

    Args:
        terms: Of each mean, what the images have: (N,), not negative.
        powers: Of each mean, its power.

    Returns:
        (N,) float64: value x (1 + Σ_i p_i (t_i / mean(t_i) - 1)); not finite where a mean is 0.
    """
    rows = torch.stack(tuple(terms)).double()
    means, power = rows.mean(dim=1, keepdim=True), rows.new_tensor(powers)
    return (means[:, 0] ** power).prod() * (1 + power @ (rows / means - 1))


def share_explained(residual: Tensor, whole: Tensor) -> Tensor:
    """Of 1 - Σ residual / Σ whole, such as R²: (N,) numbers of the images, from (N,) each."""
    return 1 - linearised([residual, whole], [1, -1])
