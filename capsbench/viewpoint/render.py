"""Rendering of stored images from views: warp, moving part, and light."""

from __future__ import annotations

from torch import Tensor

from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import Padding, Size, as_float, relight, warp, warp_part, window


def render(
    images: Tensor,
    views: Views,
    size: Size,
    *,
    masks: Tensor | None = None,
    padding: Padding = "zeros",
) -> Tensor:
    """Render stored images from views, as inputs of a model.

    Args:
        images: (B, C, H, W) uint8, or float in [0, 1], in their stored size.
        views: B views, or one for all images, on the CPU.
        size: (H', W') of the result, which has the same centre as the images.
        masks: (B, 1, H, W), 1 at pixels of the moving object; None to move the whole image.
        padding: Values outside of an image: zeros, or the nearest border pixel.

    Returns:
        (B, C, H', W') in [0, 1].
    """
    height, width = images.shape[-2:]
    matrices = views.matrices(height, width)
    if views.window is not None:
        masks = window(views.centre, views.window, (height, width))
    if masks is not None:
        moved = warp_part(as_float(images), masks, matrices, size, padding=padding)
    else:
        moved = warp(images, matrices, size, padding=padding)
    if not views.has_photometric:
        return moved
    light = views.to(moved)
    mean = as_float(images).mean(dim=(2, 3), keepdim=True)
    return relight(moved, mean, light.brightness, light.contrast)
