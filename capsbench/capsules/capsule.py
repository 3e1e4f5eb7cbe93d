"""Capsules: a pose of a part, and the probability that the part is present."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.capsules.precision import full_precision
from capsbench.capsules.relative_error import max_relative_error


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
    """Shorten vectors to a length below one and keep their direction (article, eq. 10).

    With m = max(1, largest element) and u = s / m, eq. 10 reads ``u |u| / (1 / m² + |u|²)``, in
    which nothing overflows. If all elements are at most one, this is eq. 10 itself. Value and
    gradient of a zero vector are zero.

    Args:
        vectors: (..., D).

    Returns:
        (..., D), of length ``|s|² / (1 + |s|²)``.
    """
    # The result does not depend on m, so m needs no gradient.
    shrink = 1 / vectors.detach().abs().amax(dim=-1, keepdim=True).clamp_min(1)
    shrunk = vectors * shrink
    norm = torch.linalg.vector_norm(shrunk, dim=-1, keepdim=True)
    return norm / (shrink.square() + norm.square()) * shrunk


def squash_gradient(vectors: Tensor, gradient: Tensor) -> Tensor:
    """Return the gradient of `squash` with respect to its input.

    With ``n = |s|``, eq. 10 reads ``v = s n / (1 + n²)``, whose derivative is symmetric:
    ``n / (1 + n²) + s sᵀ (1 - n²) / (n (1 + n²)²)``. It is scaled as in `squash` to avoid
    overflow.

    Args:
        vectors: (..., D), the input of `squash`.
        gradient: (..., D), with respect to the output.

    Returns:
        (..., D).
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
def exponential_squash(vectors: Tensor) -> Tensor:
    """Shorten vectors s to the length ``1 - exp(-|s|)``, in their direction (Mazzia 2021, eq. 2).

    It grows faster than `squash` where vectors are short. A zero vector stays zero.

    Args:
        vectors: (..., D).
    """
    norm = torch.linalg.vector_norm(vectors, dim=-1, keepdim=True)
    norm = norm.clamp_min(torch.finfo(norm.dtype).tiny)
    return -torch.expm1(-norm) / norm * vectors


@full_precision
def length(vectors: Tensor) -> Tensor:
    """Return the lengths (...) of squashed capsules (..., D), which are their presences.

    Lengths above one, which rounding can cause, are clamped. The gradient of a zero vector is zero.
    """
    return torch.linalg.vector_norm(vectors, dim=-1).clamp_max(1)


@torch.no_grad()
def check_squash(vectors: Tensor) -> float:
    """Check that vectors (..., D) are shorter than one when squashed.

    Returns:
        Excess of the largest length over one; at most about the rounding of the dtype.
    """
    lengths = torch.linalg.vector_norm(squash(vectors).double(), dim=-1)
    return max_relative_error(lengths, lengths.clamp_max(1))
