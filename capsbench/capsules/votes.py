"""Votes: predictions of the pose of a whole by its parts (article, eq. 4-7).

The votes of vector and matrix capsules have one form. A pose of R rows of length D (R = 1 for a
vector) is multiplied from the right by a learned D x E matrix, which is independent of the view.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from capsbench.capsules.relative_error import max_relative_error
from capsbench.capsules.windows import windows


def pair_votes(poses: Tensor, weights: Tensor) -> Tensor:
    """Compute the votes of every child for every parent, one matrix per pair (article, eq. 4, 7).

    Args:
        poses: (B, I, D) or (B, I, R, D), of vector or matrix capsules.
        weights: (I, J, D, E).

    Returns:
        (B, I, J, E) or (B, I, J, R, E).
    """
    return torch.einsum("bi...d,ijde->bij...e", poses, weights)


def shared_votes(poses: Tensor, weights: Tensor) -> Tensor:
    """Compute the votes of every child on a map, with weights shared by all positions.

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
    """Compute the votes of every child in every window of a map, with weights shared by windows.

    Args:
        poses: (B, H, W, C, D) or (B, H, W, C, R, D), of vector or matrix capsules.
        weights: (KH, KW, C, P, D, E).
        stride: Step of the window.
        offsets: (KH, KW, R, E), added to the votes.

    Returns:
        (B, H', W', P, KH * KW * C, R * E), the votes for each parent as rows of a matrix; of
        length 16 for 4 x 4 poses.
    """
    if poses.dim() == 5:
        poses = poses.unsqueeze(-2)
    kernel = weights.shape[0], weights.shape[1]
    patches = windows(poses, kernel, stride)
    batch, height, width = patches.shape[:3]
    # One product per child of the window: the rows of its poses times its matrices of all parents.
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
    """Check that votes move with the part: f(T p) = T f(p) (article, eq. 5-6).

    Args:
        vote: f, from poses to votes, such as ``lambda poses: window_votes(poses, weights)``; the
            votes are 4 x 4 matrices, or their rows in sequence.
        poses: (..., 4, 4), of the parts.
        transform: (4, 4), any T, not only rotations.

    Returns:
        The relative error, about the rounding of the dtype. Offsets, such as those of coordinate
        addition, do not move with the part and give a larger error.
    """
    moved, unmoved = (
        vote(part).reshape(-1, *transform.shape) for part in (transform @ poses, poses)
    )
    return max_relative_error(moved, transform @ unmoved)
