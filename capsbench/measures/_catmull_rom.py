"""A warp that is a smooth function of the view, for derivatives with respect to it."""

from __future__ import annotations

import torch
from torch import Tensor


def catmull_rom_warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Show images from other views, by Catmull-Rom splines along rows and columns.

    Between the samples p_0 and p_1, at the fraction f of the way, a spline is
    p_0 + (f / 2) (p_1 - p_(-1)) + (f^2 / 2) (2 p_(-1) - 5 p_0 + 4 p_1 - p_2)
    + (f^3 / 2) (3 p_0 - 3 p_1 + p_2 - p_(-1)) (Catmull and Rom 1974; the cubic convolution of Keys
    1981 with a = -1/2). It goes through the samples, and is exact for a polynomial of degree 2. Its
    first derivative is continuous: at a sample it is the central difference (p_1 - p_(-1)) / 2,
    while bilinear interpolation has the forward or the backward one there. The second derivative
    exists between samples and jumps at them.

    Beyond the border an image is continued by its reflection in the outermost pixels' centres, so
    that p_(-1) = p_1 there and no edge appears.

    Args:
        images: (N, C, H, W), a floating-point type.
        matrices: (N, 3, 3) or (1, 3, 3), ``matrix @ (x, y, 1)`` is where the content of pixel
            (x, y) goes, as in `Views.matrices`.

    Returns:
        (N, C, H, W), differentiable with respect to images and matrices, forward and backward.
    """
    height, width = images.shape[-2:]
    x = torch.arange(width, device=images.device).to(images.dtype).repeat(height)
    y = torch.arange(height, device=images.device).to(images.dtype).repeat_interleave(width)
    pixels = torch.stack([x, y, torch.ones_like(x)])
    from_x, from_y = (torch.linalg.inv(matrices.to(images))[:, :2] @ pixels).unbind(1)
    columns, across = _taps(from_x, width)
    rows, down = _taps(from_y, height)
    flat = images.flatten(2)
    result = torch.zeros_like(flat)
    for row, weight in zip(rows, down, strict=True):
        along = torch.zeros_like(flat)
        for column, share in zip(columns, across, strict=True):
            place = (row * width + column)[:, None].expand_as(flat)
            along = along + share[:, None] * flat.gather(2, place)
        result = result + weight[:, None] * along
    return result.unflatten(2, (height, width))


def _taps(position: Tensor, size: int) -> tuple[list[Tensor], list[Tensor]]:
    """The four samples next to positions (N, P), by their numbers, and their weights."""
    before = position.floor()
    f = position - before
    weights = [
        f * ((2 - f) * f - 1) / 2,
        ((3 * f - 5) * f * f + 2) / 2,
        f * ((4 - 3 * f) * f + 1) / 2,
        (f - 1) * f * f / 2,
    ]
    period = max(2 * (size - 1), 1)  # an image of one pixel repeats it
    numbers = [(before.long() + tap) % period for tap in (-1, 0, 1, 2)]
    return [
        torch.minimum(number, period - number).clamp_max(size - 1) for number in numbers
    ], weights
