"""Where the places of a feature map lie in the image, from the windows of the layers below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Window(NamedTuple):
    """The window of a convolution, pooling or capsule layer; the same for rows and columns."""

    kernel: int
    stride: int = 1
    padding: int = 0


def places(size: int, windows: Sequence[Window]) -> int:
    """Places along one side of the map that layers make of an image; below 1 if it is too small.

    >>> places(28, [Window(9), Window(9, stride=2)])
    6
    """
    for kernel, stride, padding in windows:
        size = (size + 2 * padding - kernel) // stride + 1
    return size


def smallest_size(windows: Sequence[Window]) -> int:
    """The smallest side of an image from which every layer still has one place.

    >>> smallest_size([Window(9), Window(9, stride=2)])
    17
    """
    size = 1
    for kernel, stride, padding in reversed(windows):
        size = max((size - 1) * stride + kernel - 2 * padding, 1)
    return size


def stride_and_offset(windows: Sequence[Window]) -> tuple[float, float]:
    """Input pixels from place to place, and the input pixel at the centre of the first place.

    >>> stride_and_offset([Window(3, padding=1), Window(2, stride=2)])
    (2.0, 0.5)
    """
    step, offset = 1.0, 0.0
    for kernel, stride, padding in windows:
        offset += step * ((kernel - 1) / 2 - padding)
        step *= stride
    return step, offset
