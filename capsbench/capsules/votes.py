"""Votes: what a part predicts of the pose of a whole (article, eq. 4-7).

Vector and matrix capsules vote alike: a pose of R rows of length D, one row if it is a vector, is
multiplied from the right by a matrix D x E, which is learned and knows nothing of the viewpoint.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from capsbench.capsules.deviation import deviation
from capsbench.capsules.windows import windows


def pair_votes(poses: Tensor, weights: Tensor) -> Tensor:
    """The votes of every child for every parent, with weights of each pair (article, eq. 4, 7).

    Args:
        poses: (B, I, D) or (B, I, R, D), of vector or matrix capsules.
        weights: (I, J, D, E).

    Returns:
        (B, I, J, E) or (B, I, J, R, E).
    """
    return torch.einsum("bi...d,ijde->bij...e", poses, weights)


def shared_votes(poses: Tensor, weights: Tensor) -> Tensor:
    """The votes of every child on a map, with weights that all places share.

    Args:
        poses: (B, H, W, C, D) or (B, H, W, C, R, D), of vector or matrix capsules.
        weights: (C, P, D, E).

    Returns:
        (B, H, W, C, P, E) or (B, H, W, C, P, R, E).
    """
    return pair_votes(poses.flatten(0, 2), weights).unflatten(0, poses.shape[:3])


def window_votes(
    poses: Tensor, weights: Tensor, *, stride: int = 1, offsets: Tensor | None = None
) -> Tensor:
    """The votes of every child in every window of a map, with weights that the windows share.

    Args:
        poses: (B, H, W, C, D) or (B, H, W, C, R, D), of vector or matrix capsules.
        weights: (KH, KW, C, P, D, E).
        stride: Step of the window.
        offsets: (KH, KW, R, E), added to the votes.

    Returns:
        (B, H', W', P, KH * KW * C, R * E), the votes for each parent as rows of a matrix; for
        4 x 4 poses they are 16 long.
    """
    if poses.dim() == 5:
        poses = poses.unsqueeze(-2)
    kernel = weights.shape[0], weights.shape[1]
    patches = windows(poses, kernel, stride)
    batch, height, width = patches.shape[:3]
    # One product per child of the window: the rows of its poses by its matrices for all parents.
    rows = patches.permute(3, 4, 5, 0, 1, 2, 6, 7).flatten(3, 6).flatten(0, 2)
    columns = weights.transpose(3, 4).flatten(4, 5).flatten(0, 2)
    votes = (rows @ columns).view(
        len(rows), batch, height, width, poses.shape[-2], weights.shape[3], weights.shape[5]
    )
    votes = votes.permute(1, 2, 3, 5, 0, 4, 6)
    if offsets is not None:
        per_child = offsets[:, :, None].expand(-1, -1, weights.shape[2], -1, -1)
        votes = votes + per_child.flatten(0, 2)
    return votes.flatten(start_dim=5)


@torch.no_grad()
def check_votes_commute(
    vote: Callable[[Tensor], Tensor], poses: Tensor, transform: Tensor
) -> float:
    """Does moving a part move its votes likewise: f(T p) = T f(p) (article, eq. 5-6)?

    Args:
        vote: f, from poses to votes, such as ``lambda poses: window_votes(poses, weights)``; the
            votes are 4 x 4 matrices, or their rows one after the other.
        poses: (..., 4, 4), of the parts.
        transform: (4, 4), any T, not of rotations alone.

    Returns:
        The deviation, about the rounding of the dtype. Offsets, such as those of coordinate
        addition, do not move with the part: they deviate on purpose.
    """
    moved, unmoved = (
        vote(part).reshape(-1, *transform.shape) for part in (transform @ poses, poses)
    )
    return deviation(moved, transform @ unmoved)
