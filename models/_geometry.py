"""Geometry of feature maps in the image, computed from the windows of the layers below."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class LayerWindow(NamedTuple):
    """The window of a convolution, pooling or capsule layer; the same for rows and columns.

    ``partial`` allows a last window that extends beyond the map, as in TensorFlow's 'SAME' pooling
    and torch's ``ceil_mode``, so that every pixel is included.
    """

    kernel: int
    stride: int = 1
    padding: int = 0
    partial: bool = False


def output_size(size: int, windows: Sequence[LayerWindow]) -> int:
    """Return the side of the map after some layers; below 1 if the image is too small.

    >>> output_size(28, [LayerWindow(9), LayerWindow(9, stride=2)])
    6
    """
    for kernel, stride, padding, partial in windows:
        extension = stride - 1 if partial else 0
        size = (size + 2 * padding - kernel + extension) // stride + 1
    return size


def smallest_input(windows: Sequence[LayerWindow]) -> int:
    """Return the smallest image side for which every layer has an output and uses all its weights.

    With padding (of less than half a window) a layer has an output even for the smallest map, but
    some of its weights would be applied only to zeros, and never learn.

    >>> smallest_input([LayerWindow(9), LayerWindow(9, stride=2)])
    17
    >>> smallest_input([LayerWindow(5, padding=2)])
    3
    """
    size = 1
    for kernel, stride, padding, partial in reversed(windows):
        # From this position on the window's first weight covers the map; its last one did before.
        size = max(size, -(-padding // stride) + 1)
        extension = stride - 1 if partial else 0
        size = (size - 1) * stride + kernel - 2 * padding - extension
    return size


def stride_and_offset(windows: Sequence[LayerWindow]) -> tuple[float, float]:
    """Return the input pixels between adjacent positions, and the centre pixel of the first one.

    >>> stride_and_offset([LayerWindow(3, padding=1), LayerWindow(2, stride=2)])
    (2.0, 0.5)
    """
    step, offset = 1.0, 0.0
    for kernel, stride, padding, _ in windows:
        offset += step * ((kernel - 1) / 2 - padding)
        step *= stride
    return step, offset
