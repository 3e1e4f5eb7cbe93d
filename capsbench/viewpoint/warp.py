"""Warp of images by homographies, with a single interpolation by kornia."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from capsbench.capsules.precision import full_precision
from capsbench.viewpoint.matrices import translations
from capsbench.viewpoint.tilt import in_front, is_projective, require_in_front

Padding = Literal["zeros", "border"]
Size = tuple[int, int]
Resample = Callable[[Tensor, Tensor, Size, Padding], Tensor]


def warp(
    images: Tensor, matrices: Tensor, size: Size | None = None, *, padding: Padding = "zeros"
) -> Tensor:
    """Warp images with bilinear interpolation.

    If a matrix maps pixels onto pixels (multiples of 90 degrees, whole shifts), the values are
    copied bit for bit. Compose views by the product of their matrices (``second @ first``) and warp
    once.

    Args:
        images: (N, C, H, W), floating-point; or uint8, which is divided by 255.
        matrices: (N, 3, 3) or (1, 3, 3) from `Views.matrices`. Keep them on the CPU: the tests for
            exact and for tilted views then do not wait for the images' device.
        size: (H', W') of the output, which has the same centre as the images; by default their own
            size.
        padding: Values outside of an image: zeros, or the nearest border pixel.

    Returns:
        (N, C, H', W'), of the images' dtype (float32 for uint8) and on their device.

    Raises:
        UserError: A matrix maps a corner of an image behind the camera.
    """
    if is_projective(matrices).any():
        require_in_front(matrices, *images.shape[-2:])
    return _warp_unchecked(as_float(images), matrices, size, padding)


def _warp_unchecked(
    images: Tensor, matrices: Tensor, size: Size | None, padding: Padding
) -> Tensor:
    """Warp floating-point images, wherever the matrices move them; see `warp`."""
    input_size = (images.shape[-2], images.shape[-1])
    output_size = input_size if size is None else size
    if output_size != input_size:
        margins = [(out - own) // 2 for out, own in zip(output_size, input_size, strict=True)]
        matrices = translations(matrices.new_tensor([margins[::-1]])) @ matrices
    return _copy_or_interpolate(images, matrices, output_size, padding)


def unwarp(images: Tensor, matrices: Tensor) -> Tensor:
    """Warp images back, with zeros for what has left them.

    All pixels of the result were in front of the camera, although the inverse of a steep tilt maps
    pixels beyond the plane's horizon behind it.

    Args:
        images: (N, C, H, W), results of `warp` in their own size.
        matrices: (N, 3, 3) or (1, 3, 3), the matrices of that warp.

    Returns:
        (N, C, H, W), of the images' dtype (float32 for uint8) and on their device.
    """
    size = (images.shape[-2], images.shape[-1])
    return _copy_or_interpolate(as_float(images), torch.linalg.inv(matrices), size, "zeros")


def as_float(images: Tensor) -> Tensor:
    """Return uint8 images as float32 in [0, 1]; others unchanged."""
    return images.float().div_(255) if images.dtype == torch.uint8 else images


def _copy_or_interpolate(images: Tensor, matrices: Tensor, size: Size, padding: Padding) -> Tensor:
    """Warp images by maps (N, 3, 3) or (1, 3, 3), each as if it were alone in the batch.

    Pixels are copied where a map moves whole pixels, else interpolated.
    """
    copied, tilted = on_lattice(matrices), is_projective(matrices)
    kinds: list[tuple[Tensor, Resample]] = [
        (copied, partial(_affine, mode="nearest")),
        (~(copied | tilted), partial(_affine, mode="bilinear")),
        (tilted, _perspective),
    ]
    present = [(rows, resample) for rows, resample in kinds if rows.any()] or kinds[:1]
    (_, result), *others = [
        (rows, resample(images, matrices, size, padding).to(images.dtype))
        for rows, resample in present
    ]
    for rows, warped in others:
        result = torch.where(rows.to(images.device)[:, None, None, None], warped, result)
    return result


@full_precision  # in half precision coordinates would be off by pixels
def _affine(images: Tensor, matrices: Tensor, size: Size, padding: Padding, mode: str) -> Tensor:
    from kornia.geometry.transform import warp_affine

    maps = _like(matrices, images)[:, :2]
    return warp_affine(images, maps, size, mode=mode, padding_mode=padding, align_corners=False)


@full_precision
def _perspective(images: Tensor, matrices: Tensor, size: Size, padding: Padding) -> Tensor:
    from kornia.geometry.transform import warp_perspective

    maps = _like(matrices, images).expand(len(images), 3, 3)
    warped = warp_perspective(images, maps, size, padding_mode=padding, align_corners=False)
    if padding == "zeros":
        return warped
    # Beyond the plane's horizon kornia would continue the opposite border. The nearest border pixel
    # there is the corner towards which the plane goes on.
    x, y, depth = _sources(matrices, size)
    rows, columns = -(y > 0).long(), -(x > 0).long()  # the last one, or the first one
    of = torch.arange(len(images), device=images.device)[:, None, None]
    corners = images[of, :, rows.to(images.device), columns.to(images.device)].movedim(-1, 1)
    return torch.where((depth > 0)[:, None].to(images.device), warped, corners)


def _sources(matrices: Tensor, size: Size) -> tuple[Tensor, Tensor, Tensor]:
    """Return homogeneous coordinates x, y, w of what each output pixel shows: each (N, H', W')."""
    y, x = torch.meshgrid(*(torch.arange(side).to(matrices) for side in size), indexing="ij")
    pixels = torch.stack([x, y, torch.ones_like(x)]).flatten(1)
    sources = (torch.linalg.inv(matrices) @ pixels).unflatten(-1, size)
    return sources[:, 0], sources[:, 1], sources[:, 2]


def warp_part(
    images: Tensor,
    part: Tensor,
    matrices: Tensor,
    size: Size | None = None,
    *,
    padding: Padding = "zeros",
) -> Tensor:
    """Move a part of each image over the rest, which stays in place.

    The pixels that the part uncovers are zero, or with ``border`` padding the mean colour of the
    rest. Pixels of the part that a tilt turns behind the camera are not seen.

    Args:
        images: (N, C, H, W), floating-point.
        part: (N, 1, H, W) or (1, 1, H, W), 1 at pixels of the part and 0 elsewhere.
        matrices: (N, 3, 3) or (1, 3, 3), transformations of the part.
        size: (H', W') of the output; by default the images' own size.
        padding: Values outside of an image.

    Returns:
        (N, C, H', W'), of the images' dtype and on their device.
    """
    part = part.to(images).expand(len(images), -1, -1, -1)
    rest = images * (1 - part)
    if padding != "zeros":
        pixels = (1 - part).sum(dim=(2, 3), keepdim=True).clamp_min(1)
        rest = rest + part * rest.sum(dim=(2, 3), keepdim=True) / pixels
    if is_projective(matrices).any():
        part = part * in_front(matrices, *images.shape[-2:]).to(images)
    moved = _warp_unchecked(torch.cat([images * part, part], dim=1), matrices, size, "zeros")
    if size is not None:
        rest = warp(rest, torch.eye(3, dtype=torch.float64)[None], size, padding=padding)
    return moved[:, :-1] + rest * (1 - moved[:, -1:])


def window(centre: Tensor, extent: Tensor, size: Size) -> Tensor:
    """Return masks of rectangles.

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
    columns = (-half[:, :1] <= x) & (x < half[:, :1])
    rows = (-half[:, 1:] <= y) & (y < half[:, 1:])
    return (rows[:, None, :, None] & columns[:, None, None, :]).to(centre)


def centroids(part: Tensor) -> Tensor:
    """Return the centroids of parts (N, 1, H, W), in pixels from the images' centres.

    Returns:
        (N, 2) float64, x right and y down.
    """
    weights = part[:, 0].double()
    height, width = weights.shape[-2:]
    x = torch.arange(width, dtype=torch.float64) - (width - 1) / 2
    y = torch.arange(height, dtype=torch.float64) - (height - 1) / 2
    total = weights.sum(dim=(1, 2)).clamp_min(1)
    return torch.stack([weights.sum(1) @ x / total, weights.sum(2) @ y / total], dim=-1)


def relight(images: Tensor, mean: Tensor, brightness: Tensor, contrast: Tensor) -> Tensor:
    """Change brightness, then contrast about the mean, and clamp to [0, 1].

    As ``random_brightness`` and ``random_contrast`` of Sabour et al. (2017) and Hinton et al.
    (2018), who do not clamp.

    Args:
        images: (N, C, H, W) in [0, 1].
        mean: (N, C, 1, 1), each channel's mean over the whole stored image.
        brightness: (N,) offsets.
        contrast: (N,) factors of the distance from the mean.

    Returns:
        (N, C, H, W) in [0, 1]; images with offset 0 and factor 1 are unchanged bit for bit.
    """
    added, factor = brightness[:, None, None, None], contrast[:, None, None, None]
    changed = torch.addcmul(mean + added, images - mean, factor).clamp_(0, 1)
    # Unchanged images are returned without rounding, also next to changed ones.
    return torch.where((added != 0) | (factor != 1), changed, images)


def on_lattice(matrices: Tensor) -> Tensor:
    """Return whether each map (N, 3, 3) turns, mirrors or shifts pixels onto pixels: (N,)."""
    whole = (matrices == matrices.round()).all(-1).all(-1)
    orthogonal = (matrices[:, :2, :2].abs().sum(-1) == 1).all(-1)
    return whole & orthogonal & ~is_projective(matrices)


def _like(values: Tensor, images: Tensor) -> Tensor:
    """Convert to the dtype and device of images; dtype first: not every device has float64."""
    return values.to(images.dtype).to(images.device)
