"""The warp: image and view in, image out, interpolated once."""

from __future__ import annotations

from functools import partial
from typing import Literal

import torch
from torch import Tensor
from torch.nn.functional import affine_grid, grid_sample

from capsbench.viewpoint import native_warp

Padding = Literal["zeros", "border"]
Size = tuple[int, int]


def warp(
    images: Tensor, matrices: Tensor, size: Size | None = None, *, padding: Padding = "zeros"
) -> Tensor:
    """Show images from other views.

    The interpolation is bilinear. Where a matrix maps pixels onto pixels (multiples of 90 degrees,
    whole shifts) the values are copied, bit for bit. Compose views by the product of their matrices
    (``second @ first``) and warp once.

    Args:
        images: (N, C, H, W), a floating-point type; or uint8, which stands for [0, 1].
        matrices: (N, 3, 3) or (1, 3, 3) from `Views.matrices`. Best on the CPU, where views are
            made: whether they are exact is then known without waiting for the images' device.
        size: (H', W') of what is shown of the moved images: cut out of their middle, or with room
            around it; their own if left out.
        padding: What lies outside of an image: zeros, or the nearest pixel of its border.

    Returns:
        (N, C, H', W'), of the images' dtype (float32 for uint8) and on their device.
    """
    own = (images.shape[-2], images.shape[-1])
    shown = own if size is None else size
    back = _back(matrices, own, shown).expand(len(images), 2, 3)
    if native_warp.serves(images):
        return native_warp.warp(images, back, shown, padding)
    return _resample(as_float(images), back, shown, padding)


def as_float(images: Tensor) -> Tensor:
    """Images of uint8 as float32 in [0, 1]; others as they are."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def _resample(images: Tensor, back: Tensor, shown: Size, padding: Padding) -> Tensor:
    """The warp in torch, on any device: whole pixels are copied, others interpolated."""
    height, width = images.shape[-2:]
    down, across = shown
    # `grid_sample` counts from -1 to 1, from the outer edges of the outermost pixels.
    a, b, c = back.unbind(-1)
    first = torch.stack([a * across, b * down, a * (across - 1) + b * (down - 1) + 2 * c + 1], -1)
    theta = first / first.new_tensor([width, height])[:, None]
    theta[..., 2] -= 1
    grid = affine_grid(_like(theta, images), [len(images), 1, *shown], align_corners=False)
    sample = partial(grid_sample, images, grid, padding_mode=padding, align_corners=False)
    exact = on_lattice(back)
    if exact.all():
        return sample(mode="nearest")
    if not exact.any():
        return sample(mode="bilinear")
    chosen = exact.to(images.device)[:, None, None, None]
    return torch.where(chosen, sample(mode="nearest"), sample(mode="bilinear"))


def warp_part(
    images: Tensor,
    part: Tensor,
    matrices: Tensor,
    size: Size | None = None,
    *,
    padding: Padding = "zeros",
) -> Tensor:
    """Move a part of each image over the rest, which stays where it is.

    Where the part was there is nothing: zeros, or with a padding that shows no black, the mean
    colour of the rest.

    Args:
        images: (N, C, H, W), a floating-point type.
        part: (N, 1, H, W) or (1, 1, H, W), 1 where a pixel belongs to the part and 0 elsewhere.
        matrices: (N, 3, 3) or (1, 3, 3), how the part moves.
        size: (H', W') of what is shown; the images' own if left out.
        padding: What lies outside of an image.

    Returns:
        (N, C, H', W'), of the images' dtype and on their device.
    """
    part = part.to(images).expand(len(images), -1, -1, -1)
    rest = images * (1 - part)
    if padding != "zeros":
        pixels = (1 - part).sum(dim=(2, 3), keepdim=True).clamp_min(1)
        rest = rest + part * rest.sum(dim=(2, 3), keepdim=True) / pixels
    moved = warp(torch.cat([images * part, part], dim=1), matrices, size)
    if size is not None:
        rest = warp(rest, torch.eye(3, dtype=torch.float64)[None], size, padding=padding)
    return moved[:, :-1] + rest * (1 - moved[:, -1:])


def window(centre: Tensor, extent: Tensor, size: Size) -> Tensor:
    """Which pixels lie inside rectangles.

    Args:
        centre: (N, 2) pixels, from the image's centre to the rectangle's, x right and y down.
        extent: (N, 2) pixels, width and height.
        size: (H, W) of the images.

    Returns:
        (N, 1, H, W), 1 inside and 0 outside, of the dtype and on the device of ``centre``.
    """
    height, width = size
    x = torch.arange(width).to(centre) - (width - 1) / 2 - centre[:, :1]
    y = torch.arange(height).to(centre) - (height - 1) / 2 - centre[:, 1:]
    half = extent / 2
    across = (-half[:, :1] <= x) & (x < half[:, :1])
    down = (-half[:, 1:] <= y) & (y < half[:, 1:])
    return (down[:, None, :, None] & across[:, None, None, :]).to(centre)


def centroids(part: Tensor) -> Tensor:
    """(N, 2) pixels in float64, from the images' centres to the centroids of parts (N, 1, H, W)."""
    weights = part[:, 0].double()
    height, width = weights.shape[-2:]
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    total = weights.sum(dim=(1, 2)).clamp_min(1)
    return torch.stack([weights.sum(1) @ x / total, weights.sum(2) @ y / total], dim=-1)


def relight(images: Tensor, mean: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Change brightness, then contrast about the mean, and keep to [0, 1].

    As ``random_brightness`` and ``random_contrast`` of Sabour et al. (2017) and Hinton et al.
    (2018) do, who leave values beyond [0, 1] as they are.

    Args:
        images: (N, C, H, W) in [0, 1].
        mean: (N, C, 1, 1), each channel's mean over the whole image as it was stored.
        brightness: (N,) added.
        contrast: (N,) factors of the distance from the mean.
    """
    added, factor = brightness[:, None, None, None], contrast[:, None, None, None]
    changed = torch.addcmul(mean + added, images - mean, factor).clamp_(0, 1)
    # What is not to be changed is not rounded either, whatever stands beside it.
    return torch.where((added != 0) | (factor != 1), changed, images)


def on_lattice(matrices: Tensor) -> Tensor:
    """(N,) whether each map (N, 2 or 3, 3) turns, mirrors or shifts pixels onto pixels exactly."""
    whole = (matrices == matrices.round()).all(-1).all(-1)
    orthogonal = (matrices[:, :2, :2].abs().sum(-1) == 1).all(-1)
    return whole & orthogonal


def _back(matrices: Tensor, own: Size, shown: Size) -> Tensor:
    """(N, 2, 3), from the pixels of what is shown to those of the images."""
    a, b, x, c, d, y = matrices[:, :2].flatten(1).unbind(-1)
    if shown != own:
        x, y = x + (shown[1] - own[1]) // 2, y + (shown[0] - own[0]) // 2
    determinant = torch.addcmul(a * d, b, c, value=-1)
    to_x = torch.addcmul(b * y, d, x, value=-1)
    to_y = torch.addcmul(c * x, a, y, value=-1)
    rows = torch.stack([d, -b, to_x, -c, a, to_y], dim=-1)
    return (rows / determinant[:, None]).unflatten(-1, (2, 3))


def _like(values: Tensor, images: Tensor) -> Tensor:
    """In the dtype and on the device of images; the dtype first: not every device has float64."""
    return values.to(images.dtype).to(images.device)
