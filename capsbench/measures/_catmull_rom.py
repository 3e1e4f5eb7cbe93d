"""Warp by Catmull-Rom splines, a smooth function of the view, for derivatives."""

from __future__ import annotations

import torch
from torch import Tensor


def catmull_rom_warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Warp images by Catmull-Rom splines along rows and columns.

    Between the samples p_0 and p_1, at the fraction f of the way, a spline is
    p_0 + (f / 2) (p_1 - p_(-1)) + (f² / 2) (2 p_(-1) - 5 p_0 + 4 p_1 - p_2)
    + (f³ / 2) (3 p_0 - 3 p_1 + p_2 - p_(-1)) (Catmull and Rom 1974; the cubic convolution of Keys
    1981 with a = -1/2). It passes through the samples and is exact for polynomials of degree 2. Its
    first derivative is continuous: at a sample it is the central difference (p_1 - p_(-1)) / 2,
    while that of bilinear interpolation is the forward or the backward difference. The second
    derivative exists between samples and jumps at them.

    Beyond the border an image is continued by reflection in the centres of its outermost pixels, so
    that p_(-1) = p_1 there and no edge appears.

    Args:
        images: (N, C, H, W), a floating-point type.
        matrices: (N, 3, 3) or (1, 3, 3); the content of pixel (x, y) moves to
            ``matrix @ (x, y, 1)``, after a division by the third coordinate, as in
            `Views.matrices`.

    Returns:
        (N, C, H, W), differentiable with respect to images and matrices, forward and backward.
    """
    height, width = images.shape[-2:]
    x = torch.arange(width, device=images.device).to(images.dtype).repeat(height)
    y = torch.arange(height, device=images.device).to(images.dtype).repeat_interleave(width)
    pixels = torch.stack([x, y, torch.ones_like(x)])
    scaled_x, scaled_y, depth = (torch.linalg.inv(matrices.to(images)) @ pixels).unbind(1)
    from_x, from_y = scaled_x / depth, scaled_y / depth
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
    """Return the indices and weights of the four samples next to positions (N, P)."""
    before = position.floor()
    f = position - before
    weights = [
        f * ((2 - f) * f - 1) / 2,
        ((3 * f - 5) * f * f + 2) / 2,
        f * ((4 - 3 * f) * f + 1) / 2,
        (f - 1) * f * f / 2,
    ]
    period = max(2 * (size - 1), 1)  # an image of one pixel repeats it
    repeated = [(before.long() + tap) % period for tap in (-1, 0, 1, 2)]
    indices = [torch.minimum(each, period - each).clamp_max(size - 1) for each in repeated]
    return indices, weights
