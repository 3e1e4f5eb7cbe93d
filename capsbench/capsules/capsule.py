"""A capsule: the pose of a part, and the presence: the probability that the part is there."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.capsules.deviation import deviation
from capsbench.capsules.precision import full_precision


class Capsules(NamedTuple):
    """Capsules of one layer, on a map or in a list.

    Attributes:
        poses: (B, H, W, C, 4, 4) or (B, H, W, C, D) on a map; (B, J, 4, 4) or (B, J, D) in a list.
        presences: (B, H, W, C) or (B, J), in [0, 1].
    """

    poses: Tensor
    presences: Tensor


@full_precision
def squash(vectors: Tensor) -> Tensor:
    """Shorten vectors to a length below one without turning them (article, eq. 10).

    With m = max(1, largest element) and u = s / m, eq. 10 reads u |u| / (1 / m² + |u|²), in which
    nothing overflows. For elements up to one it is the equation as it stands. Value and gradient of
    a zero vector are zero.

    Args:
        vectors: (..., D).

    Returns:
        (..., D), of length |s|² / (1 + |s|²).
    """
    # The result does not depend on m, so no gradient need flow through it.
    shrink = 1 / vectors.detach().abs().amax(dim=-1, keepdim=True).clamp_min(1)
    shrunk = vectors * shrink
    norm = torch.linalg.vector_norm(shrunk, dim=-1, keepdim=True)
    return norm / (shrink.square() + norm.square()) * shrunk


def squash_gradient(vectors: Tensor, gradient: Tensor) -> Tensor:
    """The gradient of vectors, given that of what `squash` makes of them; all (..., D).

    With n = |s|, eq. 10 reads v = s n / (1 + n²), whose derivative is symmetric:
    n / (1 + n²) + s sᵀ (1 - n²) / (n (1 + n²)²). Scaled as in `squash`, so that nothing overflows.
    """
    shrink = 1 / vectors.abs().amax(dim=-1, keepdim=True).clamp_min(1)
    shrunk = vectors * shrink
    norm = torch.linalg.vector_norm(shrunk, dim=-1, keepdim=True)
    total = shrink.square() + norm.square()
    direction = shrunk / norm.clamp_min(torch.finfo(norm.dtype).tiny)
    along = (direction * gradient).sum(dim=-1, keepdim=True)
    slope = shrink * (shrink.square() - norm.square()) / total.square()
    return shrink * norm / total * gradient + norm * slope * along * direction


@full_precision
def length(vectors: Tensor) -> Tensor:
    """The presence (...) of squashed capsules (..., D): their length.

    What rounding adds above one is cut. The gradient of a zero vector is zero.
    """
    return torch.linalg.vector_norm(vectors, dim=-1).clamp_max(1)


@torch.no_grad()
def check_squash(vectors: Tensor) -> float:
    """Do vectors (..., D) stay below a length of one when squashed?

    Returns:
        By how much the longest exceeds one; about the rounding of the dtype at most.
    """
    lengths = torch.linalg.vector_norm(squash(vectors).double(), dim=-1)
    return deviation(lengths, lengths.clamp_max(1))
