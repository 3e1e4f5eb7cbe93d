"""Sliding windows of a map: the children of each parent in a convolutional capsule layer."""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F


def windows(maps: Tensor, kernel: tuple[int, int], stride: int) -> Tensor:
    """Extract every window that fits into a map: (B, H, W, ...) to (B, H', W', KH, KW, ...)."""
    patches = maps.unfold(1, kernel[0], stride).unfold(2, kernel[1], stride)
    return patches.movedim((-2, -1), (3, 4))


def num_covered_positions(size: tuple[int, int], kernel: tuple[int, int], stride: int) -> int:
    """Return the number of positions of a map (H, W) that at least one window covers."""
    height, width = (
        (side - window) // stride * min(stride, window) + window
        for side, window in zip(size, kernel, strict=True)
    )
    return height * width


def sum_over_windows(values: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Sum, at each position of a map, the values of all windows that cover it.

    Args:
        values: (B, H', W', KH, KW, C).
        size: (H, W) of the map.
        stride: Step of the window.

    Returns:
        (B, H, W, C); zero where no window covers a position.
    """
    kernel = values.shape[3], values.shape[4]
    columns = values.permute(0, 5, 3, 4, 1, 2).flatten(4, 5).flatten(1, 3)
    return F.fold(columns, size, kernel, stride=stride).permute(0, 2, 3, 1)
