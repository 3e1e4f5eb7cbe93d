"""Coordinate addition: votes are told from which place of the map they come."""

from __future__ import annotations

import torch
from torch import Tensor


def coordinates(height: int, width: int, *, like: Tensor) -> Tensor:
    """Coordinate addition: what votes from each place of a map are told (Hinton 2018, section 4).

    The first two elements of the right-hand column hold the place's row and column, as shares of
    the map's size.

    Args:
        height: H of the map.
        width: W of the map.
        like: A tensor whose dtype and device are wanted.

    Returns:
        (H, W, 4, 4), zero but for those elements, which lie between 0 and 1.
    """
    offsets = like.new_zeros(height, width, 4, 4)
    offsets[:, :, 0, 3] = ((torch.arange(height, device=like.device) + 0.5) / height)[:, None]
    offsets[:, :, 1, 3] = (torch.arange(width, device=like.device) + 0.5) / width
    return offsets
