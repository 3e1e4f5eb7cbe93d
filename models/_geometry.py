"""Where the places of a feature map lie in the image, from the windows of the layers below it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Window(NamedTuple):
    """The window of a convolution, pooling or capsule layer; the same for rows and columns.

    ``partial`` says that a last window may reach beyond the map, as in TensorFlow's 'SAME' pooling
    and torch's ``ceil_mode``, so that no pixel is left out.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    partial: bool = False


def places(size: int, windows: Sequence[Window]) -> int:
    """Places along one side of the map that layers make of an image; below 1 if it is too small.

    >>> places(28, [Window(9), Window(9, stride=2)])
    6
    """
    for kernel, stride, padding, partial in windows:
        reach = stride - 1 if partial else 0
        size = (size + 2 * padding - kernel + reach) // stride + 1
    return size


def smallest_size(windows: Sequence[Window]) -> int:
    """The smallest side of an image from which every layer has a place and uses all its weights.

    Behind padding (of less than half a window) a layer has a place in the smallest map, but some of
    its weights would see nothing but zeros, and never learn.

    >>> smallest_size([Window(9), Window(9, stride=2)])
    17
    >>> smallest_size([Window(5, padding=2)])
    3
    """
    size = 1
    for kernel, stride, padding, partial in reversed(windows):
        # From this place on the window's first weight sees the map, as its last one does before it.
        size = max(size, -(-padding // stride) + 1)
        reach = stride - 1 if partial else 0
        size = (size - 1) * stride + kernel - 2 * padding - reach
    return size


def stride_and_offset(windows: Sequence[Window]) -> tuple[float, float]:
    """Input pixels from place to place, and the input pixel at the centre of the first place.

    >>> stride_and_offset([Window(3, padding=1), Window(2, stride=2)])
    (2.0, 0.5)
    """
    step, offset = 1.0, 0.0
    for kernel, stride, padding, _ in windows:
        offset += step * ((kernel - 1) / 2 - padding)
        step *= stride
    return step, offset
