"""Images of scenes, with masks and the part that is seen in each pixel."""

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

CHUNK = 2**19  # rays at a time; more are no faster and take more memory


class Rendering(NamedTuple):
    """Images with what is seen where."""

    images: Tensor
    """(N, L, C, H, W) in [0, 1], float32: L lightings, C is 1, or 2 for the left and right eye."""
    masks: Tensor
    """(N, C, H, W) where the object covers at least half of a pixel, bool."""
    parts: Tensor
    """(N, C, H, W) the place of the part that is nearest in a pixel of the mask, else -1."""


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
    """Photograph objects.

    Args:
        parts: N objects.
        elevation: (N,) degrees of the camera above the horizon.
        azimuth: (N,) degrees by which the object is turned, counter-clockwise from above.
        distance: (N,) of the camera, in the default distance.
        lighting: (N, L) numbers of lightings; what does not depend on them is computed once.
        size: Pixels of the image's side.
        stereo: Two images, from a left and a right eye, in place of one.
        samples: Rays along a pixel's side; their mean is the pixel's value.

    Raises:
        UserError: An elevation or a distance is out of range.
    """
    views = [
        draw(scene(parts, elevation, azimuth, distance, eye), lighting, size, samples)
        for eye in eyes(stereo)
    ]
    return Rendering(
        torch.cat([view.images for view in views], dim=2),
        torch.cat([view.masks for view in views], dim=1),
        torch.cat([view.parts for view in views], dim=1),
    )


def draw(scenes: Scene, lighting: Tensor, size: int = 48, samples: int = 2) -> Rendering:
    """Draw scenes from their poses alone.

    Args:
        scenes: N scenes, in camera coordinates.
        lighting: (N, L) numbers of lightings.
        size: Pixels of the image's side.
        samples: Rays along a pixel's side.

    Returns:
        Images of one channel.
    """
    step = max(1, CHUNK // (size * samples) ** 2)
    pieces = [
        _draw(scenes.rows(slice(i, i + step)), lighting[i : i + step], size, samples)
        for i in range(0, len(lighting), step)
    ]
    return Rendering(*(torch.cat(kind) for kind in zip(*pieces, strict=True)))


def _draw(scenes: Scene, lighting: Tensor, size: int, samples: int) -> Rendering:
    count, shots = lighting.shape
    screen = rays(size, samples)
    view = pencils(
        scenes.poses[:, 1:],
        scenes.half_sizes,
        scenes.shapes,
        origin=torch.zeros(count, 3, dtype=torch.float64),
        lens=torch.eye(3, dtype=torch.float64).expand(count, 3, 3),
    )
    hits = cast(view, screen)
    shining = light(lighting)
    places = samples**2
    part = hits.part.view(count, places, -1)
    coverage = _mean((part != NO_PART).float())
    surface = _mean(surfaces(scenes, view, hits, screen, shining).unflatten(-1, (places, -1)))
    images = surface + (1 - coverage)[:, None] * ground(scenes, size, shining)
    nearest = hits.depth.view(count, places, -1).argmin(1, keepdim=True)
    masks = coverage >= 0.5
    return Rendering(
        images.clamp(0, 1).view(count, shots, 1, size, size),
        masks.view(count, 1, size, size),
        torch.where(masks, part.gather(1, nearest)[:, 0], NO_PART).view(count, 1, size, size),
    )


def _mean(values: Tensor) -> Tensor:
    """The mean over the samples, the last axis but one, in a fixed order of additions."""
    total, *others = values.unbind(-2)
    for other in others:
        total = total + other
    return total / values.shape[-2]
