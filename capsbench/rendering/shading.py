"""Lambert shading of surfaces, and the ground with shadows."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.rendering.camera import rays
from capsbench.rendering.casting import Hits, Pencils, cast, pencils, unit_rays
from capsbench.rendering.lighting import GROUND, incident, lamps, slopes
from capsbench.rendering.primitives import NO_PART, SHAPES, dot, outward
from capsbench.rendering.scene import Scene


def surfaces(scenes: Scene, eyes: Pencils, hits: Hits, screen: Tensor, light: Tensor) -> Tensor:
    """Return the light reflected by the surfaces that rays hit.

    Args:
        scenes: N scenes.
        eyes: Rays, in the parts' unit coordinates.
        hits: First hits of the rays.
        screen: (2, P) screen coordinates of the rays.
        light: (N, L, 5) contributions of lamps and sky.

    Returns:
        (N, L, P); zeros without a hit.
    """
    (count, num_lightings, _), points = light.shape, screen.shape[1]
    owner, pixel = (hits.part != NO_PART).nonzero(as_tuple=True)
    rows = owner * scenes.shapes.shape[1] + hits.part[owner, pixel]
    start, direction = unit_rays(eyes, screen, rows, pixel)
    normals = _normals(scenes, rows, start + hits.depth[owner, pixel] * direction)
    irradiance = torch.zeros(num_lightings, len(rows))
    strengths = incident(normals, scenes.stage, owner)
    for strength, weight in zip(strengths, light.permute(2, 1, 0), strict=True):
        irradiance = irradiance + weight[:, owner] * strength
    reflected = torch.zeros(num_lightings, count * points)
    reflected[:, owner * points + pixel] = irradiance * scenes.albedo.float().flatten()[rows]
    return reflected.view(num_lightings, count, points).transpose(0, 1)


def ground(scenes: Scene, size: int, light: Tensor) -> Tensor:
    """Return the light from the ground in every pixel, with shadows, also behind the object.

    The direction from a lamp to the ground point of a pixel is linear in the pixel's screen
    coordinates. So the lamp's rays to all ground points form a pencil like the camera's, and a
    point is in shadow if its ray hits a part. Above the horizon the ground has no shadows.

    Args:
        scenes: N scenes.
        size: Side of the image in pixels.
        light: (N, L, 5) contributions of lamps and sky.

    Returns:
        (N, L, size ** 2).
    """
    screen = rays(size, 1)
    up, origin = scenes.stage[:, :3, 2], scenes.stage[:, :3, 3]
    height = -(up * origin).sum(1)[:, None, None]  # the camera's
    total = light[..., -1, None]
    for number, lamp in enumerate(lamps(scenes.stage).unbind(1)):
        # The ground point at m = (u, v, 1) is p = m height / -(up . m); p - lamp has the direction
        # of the following matrix times m. Above the horizon the direction is lamp - p, which points
        # up from the lamp, where there is no object.
        lens = height * torch.eye(3).double() + lamp[:, :, None] * up[:, None, :]
        beams = pencils(scenes.poses[:, 1:], scenes.half_sizes, scenes.shapes, lamp, lens)
        shadow = _soften((cast(beams, screen).part != NO_PART).float(), size)
        shine = light[..., number] * slopes()[number]
        total = total + shine[..., None] * (1 - shadow)[:, None]
    return GROUND * total


def _normals(scenes: Scene, rows: Tensor, points: Tensor) -> Tensor:
    """Return unit normals (3, K) in camera coordinates at points of unit shapes.

    Args:
        scenes: N scenes of M parts.
        rows: (K,) index of each point's part among all N M.
        points: (3, K).
    """
    gradients = torch.zeros_like(points)
    codes = scenes.shapes.flatten()[rows]
    for code, shape in enumerate(SHAPES.values()):
        index = (codes == code).nonzero()[:, 0]
        gradients[:, index] = outward(shape, points[:, index])
    # The inverse transpose of rotation times half sizes takes gradients to camera coordinates.
    halves = torch.where(scenes.shapes[..., None] == NO_PART, 1, scenes.half_sizes)
    columns = scenes.poses[:, 1:, :3, :3] / halves[..., None, :]
    table = columns.flatten(0, 1).permute(2, 1, 0).float()
    x, y, z = (
        column[:, rows] * gradient for column, gradient in zip(table, gradients, strict=True)
    )
    normals = x + y + z
    return normals / dot(normals, normals).sqrt()


def _soften(shadow: Tensor, size: int) -> Tensor:
    """Blur (N, size ** 2) with the kernel 1 2 1 along both axes, which has exact sums."""
    wide = F.pad(shadow.view(-1, 1, size, size), (1, 1, 1, 1), mode="replicate")[:, 0]
    rows = wide[:, :-2] + wide[:, 1:-1] * 2 + wide[:, 2:]
    return ((rows[..., :-2] + rows[..., 1:-1] * 2 + rows[..., 2:]) / 16).flatten(1)
