"""ToyNORB's grid of factors, the same as smallNORB's, and its rendering."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.datamodules._toys import CATEGORIES, INSTANCES, all_toys
from capsbench.rendering.lighting import LIGHTINGS
from capsbench.rendering.render import render
from capsbench.rendering.scene import Parts, Scene, scene

ELEVATIONS = tuple(range(30, 71, 5))  # degrees above the horizon
AZIMUTHS = tuple(range(0, 360, 20))  # degrees


class Grid(NamedTuple):
    """Every combination of the factors, one a row; the last factors change fastest."""

    images: Tensor
    """(N, C, H, W) uint8; C is 1, or 2 for the left and the right eye."""
    masks: Tensor
    """(N, C, H, W) bool, true on the object."""
    category: Tensor
    """(N,) int64, index in `CATEGORIES`."""
    instance: Tensor
    """(N,) int64."""
    elevation: Tensor
    """(N,) int64, degrees."""
    azimuth: Tensor
    """(N,) int64, degrees."""
    lighting: Tensor
    """(N,) int64."""


def render_grid(
    size: int = 48,
    *,
    stereo: bool = False,
    distance: float = 1.0,
    toys: Parts | None = None,
    instances: Sequence[int] = range(INSTANCES),
    advance: Callable[[int], None] | None = None,
) -> Grid:
    """Render every category and instance from every elevation and azimuth in every lighting.

    All ten instances are 48,600 images. The same arguments give the same bits.

    Args:
        size: Side of an image, in pixels.
        stereo: A left and a right image in place of one.
        distance: Distance of the camera, relative to the default distance.
        toys: The 50 toys; `all_toys` if left out.
        instances: The instances to render.
        advance: Called with the number of images that were just finished.

    Raises:
        UserError: The distance is not positive.
    """
    toys = all_toys() if toys is None else toys
    views = torch.cartesian_prod(torch.tensor(ELEVATIONS), torch.tensor(AZIMUTHS))
    elevation, azimuth = views.double().unbind(1)
    lighting = torch.arange(len(LIGHTINGS)).expand(len(views), -1)
    factors = torch.cartesian_prod(
        torch.arange(len(CATEGORIES)),
        torch.tensor(instances),
        torch.tensor(ELEVATIONS),
        torch.tensor(AZIMUTHS),
        lighting[0],
    )
    channels = 2 if stereo else 1
    images = torch.empty(len(factors), channels, size, size, dtype=torch.uint8)
    masks = torch.empty(len(factors), channels, size, size, dtype=torch.bool)
    step = lighting.numel()
    for start in range(0, len(factors), step):
        category, instance = factors[start, :2]
        row = (category * INSTANCES + instance).expand(len(views))
        seen = render(
            toys.rows(row),
            elevation,
            azimuth,
            torch.full_like(elevation, distance),
            lighting,
            size=size,
            stereo=stereo,
        )
        images[start : start + step] = (seen.images * 255).round().flatten(0, 1)
        masks[start : start + step] = seen.masks.repeat_interleave(len(LIGHTINGS), dim=0)
        if advance is not None:
            advance(step)
    return Grid(images, masks, *factors.unbind(1))


def scenes(
    category: Tensor,
    instance: Tensor,
    elevation: Tensor,
    azimuth: Tensor,
    *,
    distance: float = 1.0,
    toys: Parts | None = None,
) -> Scene:
    """Return the exact poses of objects and parts for rows of a grid.

    For stereo, they are relative to a camera midway between the eyes.

    Args:
        category: (N,) indices in `CATEGORIES`.
        instance: (N,).
        elevation: (N,) degrees.
        azimuth: (N,) degrees.
        distance: Distance of the camera, relative to the default distance.
        toys: The 50 toys; `all_toys` if left out.
    """
    parts = (all_toys() if toys is None else toys).rows(category * INSTANCES + instance)
    factor = torch.full(category.shape, distance, dtype=torch.float64)
    return scene(parts, elevation, azimuth, factor)
