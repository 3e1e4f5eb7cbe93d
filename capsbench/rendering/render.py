"""Images of scenes, with masks and the visible part in each pixel."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.rendering.camera import rays
from capsbench.rendering.casting import cast, pencils
from capsbench.rendering.lighting import light
from capsbench.rendering.primitives import NO_PART
from capsbench.rendering.scene import Parts, Scene, eyes, scene
from capsbench.rendering.shading import ground, surfaces

CHUNK = 2**19  # rays at a time; larger chunks are not faster and take more memory


class Rendering(NamedTuple):
    """Rendered images with masks and visible parts."""

    images: Tensor
    """(N, L, C, H, W) in [0, 1], float32: L lightings, C is 1, or 2 for the left and right eye."""
    masks: Tensor
    """(N, C, H, W) bool, true where the object covers at least half of a pixel."""
    parts: Tensor
    """(N, C, H, W) index of the nearest part in each pixel of the mask, -1 elsewhere."""


def render(
    parts: Parts,
    elevation: Tensor,
    azimuth: Tensor,
    distance: Tensor,
    lighting: Tensor,
    *,
    size: int = 48,
    stereo: bool = False,
    samples: int = 2,
) -> Rendering:
    """Render objects.

    Args:
        parts: N objects.
        elevation: (N,) degrees of the camera above the horizon.
        azimuth: (N,) degrees by which the object is turned, counter-clockwise from above.
        distance: (N,) of the camera, in units of ``camera.DISTANCE``.
        lighting: (N, L) numbers of lightings; the geometry is computed once for all of them.
        size: Side of the image in pixels.
        stereo: Render a left and a right image in place of one.
        samples: Rays along the side of a pixel; a pixel is the mean of its rays.

    Raises:
        UserError: An elevation or a distance is out of range.
    """
    views = [
        render_scene(scene(parts, elevation, azimuth, distance, eye), lighting, size, samples)
        for eye in eyes(stereo)
    ]
    return Rendering(
        torch.cat([view.images for view in views], dim=2),
        torch.cat([view.masks for view in views], dim=1),
        torch.cat([view.parts for view in views], dim=1),
    )


def render_scene(scenes: Scene, lighting: Tensor, size: int = 48, samples: int = 2) -> Rendering:
    """Render scenes, which are given by their poses in camera coordinates.

    Args:
        scenes: N scenes, in camera coordinates.
        lighting: (N, L) numbers of lightings.
        size: Side of the image in pixels.
        samples: Rays along the side of a pixel.

    Returns:
        Images of one channel.
    """
    step = max(1, CHUNK // (size * samples) ** 2)
    chunks = [
        _render_chunk(scenes.rows(slice(i, i + step)), lighting[i : i + step], size, samples)
        for i in range(0, len(lighting), step)
    ]
    return Rendering(*(torch.cat(tensors) for tensors in zip(*chunks, strict=True)))


def _render_chunk(scenes: Scene, lighting: Tensor, size: int, samples: int) -> Rendering:
    count, num_lightings = lighting.shape
    screen = rays(size, samples)
    view = pencils(
        scenes.poses[:, 1:],
        scenes.half_sizes,
        scenes.shapes,
        origin=torch.zeros(count, 3, dtype=torch.float64),
        lens=torch.eye(3, dtype=torch.float64).expand(count, 3, 3),
    )
    hits = cast(view, screen)
    weights = light(lighting)
    rays_per_pixel = samples**2
    part = hits.part.view(count, rays_per_pixel, -1)
    coverage = _mean((part != NO_PART).float())
    surface = surfaces(scenes, view, hits, screen, weights)
    surface = _mean(surface.unflatten(-1, (rays_per_pixel, -1)))
    images = surface + (1 - coverage)[:, None] * ground(scenes, size, weights)
    nearest = hits.depth.view(count, rays_per_pixel, -1).argmin(1, keepdim=True)
    masks = coverage >= 0.5
    return Rendering(
        images.clamp(0, 1).view(count, num_lightings, 1, size, size),
        masks.view(count, 1, size, size),
        torch.where(masks, part.gather(1, nearest)[:, 0], NO_PART).view(count, 1, size, size),
    )


def _mean(values: Tensor) -> Tensor:
    """Return the mean over the last axis but one, in a fixed order of additions."""
    total, *others = values.unbind(-2)
    for other in others:
        total = total + other
    return total / values.shape[-2]
