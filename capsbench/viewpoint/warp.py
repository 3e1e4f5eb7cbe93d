"""The warp: image and view in, image out, interpolated once."""

from __future__ import annotations

from functools import partial

import torch
from kornia.geometry.transform import warp_affine
from torch import Tensor


def warp(images: Tensor, matrices: Tensor) -> Tensor:
    """Show images from other views; what lies outside of an image is zero.

    The interpolation is bilinear. Where a matrix maps pixels onto pixels (multiples of 90 degrees,
    whole shifts) the values are copied, bit for bit. Compose views by the product of their matrices
    (``second @ first``) and warp once.

    Args:
        images: (N, C, H, W), a floating-point type.
        matrices: (N, 3, 3) or (1, 3, 3) from `Views.matrices`. Best on the CPU, where views are
            made: whether they are exact is then known without waiting for the images' device.

    Returns:
        (N, C, H, W), of the images' dtype and on their device.
    """
    exact = on_lattice(matrices).expand(len(images))
    # The dtype first: not every device has float64.
    affine = matrices[:, :2].to(images.dtype).to(images.device).expand(len(images), 2, 3)
    size = (images.shape[-2], images.shape[-1])
    sample = partial(warp_affine, images, affine, size, padding_mode="zeros", align_corners=True)
    if exact.all():
        return sample(mode="nearest")
    if not exact.any():
        return sample(mode="bilinear")
    chosen = exact.to(images.device)[:, None, None, None]
    return torch.where(chosen, sample(mode="nearest"), sample(mode="bilinear"))


def on_lattice(matrices: Tensor) -> Tensor:
    """(N,) whether each matrix (N, 3, 3) turns, mirrors or shifts pixels onto pixels exactly."""
    whole = (matrices == matrices.round()).all(-1).all(-1)
    orthogonal = (matrices[:, :2, :2].abs().sum(-1) == 1).all(-1)
    return whole & orthogonal
