"""Votes: what a part predicts of the pose of a whole (article, eq. 4-7)."""

from __future__ import annotations

from torch import Tensor

from capsbench.capsules.windows import windows


def window_votes(
    poses: Tensor, weights: Tensor, *, stride: int = 1, offsets: Tensor | None = None
) -> Tensor:
    """The votes V = M W of every child in every window (article, eq. 4).

    Args:
        poses: (B, H, W, C, 4, 4).
        weights: (KH, KW, C, P, 4, 4).
        stride: Step of the window.
        offsets: (KH, KW, 4, 4), added to the votes.

    Returns:
        (B, H', W', P, KH * KW * C, 16).
    """
    num_types = weights.shape[3]
    patches = windows(poses, (weights.shape[0], weights.shape[1]), stride)
    batch, height, width = patches.shape[:3]
    # One product per child of the window: the rows of its poses by its matrices for all parents.
    rows = patches.permute(3, 4, 5, 0, 1, 2, 6, 7).flatten(3, 6).flatten(0, 2)
    columns = weights.transpose(3, 4).flatten(4, 5).flatten(0, 2)
    votes = (rows @ columns).view(len(rows), batch, height, width, 4, num_types, 4)
    votes = votes.permute(1, 2, 3, 5, 0, 4, 6)
    if offsets is not None:
        per_child = offsets[:, :, None].expand(-1, -1, weights.shape[2], -1, -1)
        votes = votes + per_child.flatten(0, 2)
    return votes.flatten(start_dim=5)
