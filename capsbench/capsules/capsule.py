"""A capsule: the pose of a part, and the presence: the probability that the part is there."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor

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
def squash(vectors: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Shorten vectors to a length below one without turning them (article, eq. 10).

    Args:
        vectors: (..., D).
        eps: Stands inside of the square root, so that value and gradient are zero, and not NaN, for
            a zero vector.

    Returns:
        (..., D), of length |s|² / (1 + |s|²).
    """
    squared = vectors.square().sum(dim=-1, keepdim=True)
    return squared / (1 + squared) * vectors * (squared + eps).rsqrt()


@full_precision
def length(vectors: Tensor, *, eps: float = 1e-8) -> Tensor:
    """Length (...) of vectors (..., D): the presence of a squashed capsule.

    ``eps`` inside of the square root keeps the gradient of a zero vector finite.
    """
    return (vectors.square().sum(dim=-1) + eps).sqrt()
