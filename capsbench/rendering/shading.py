"""What rays see: Lambert's shading of surfaces, and the ground with the shadows on it."""

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
    """The light that comes from the surfaces that rays meet.

    Args:
        scenes: N scenes.
        eyes: The rays, in the parts' unit coordinates.
        hits: What they meet.
        screen: (2, P) their screen coordinates.
        light: (N, L, 5) contributions of lamps and sky.

    Returns:
        (N, L, P); zeros where a ray meets nothing.
    """
    (count, shots, _), points = light.shape, screen.shape[1]
    owner, pixel = (hits.part != NO_PART).nonzero(as_tuple=True)
    rows = owner * scenes.shapes.shape[1] + hits.part[owner, pixel]
    start, direction = unit_rays(eyes, screen, rows, pixel)
    normals = _normals(scenes, rows, start + hits.depth[owner, pixel] * direction)
    found = torch.zeros(shots, len(rows))
    strengths = incident(normals, scenes.stage, owner)
    for strength, weight in zip(strengths, light.permute(2, 1, 0), strict=True):
        found = found + weight[:, owner] * strength
    seen = torch.zeros(shots, count * points)
    seen[:, owner * points + pixel] = found * scenes.albedo.float().flatten()[rows]
    return seen.view(shots, count, points).transpose(0, 1)


def ground(scenes: Scene, size: int, light: Tensor) -> Tensor:
    """The light from the ground in every pixel, shadows included, as if the object hid nothing.

    A lamp's ray to the point of the ground that a pixel sees is linear in the pixel's screen
    coordinates, so its rays to all of them are a pencil like the camera's, and the point is in
    shadow where such a ray meets a part. The ground goes on above the horizon, without shadows.

    Args:
        scenes: N scenes.
        size: Pixels of the image's side.
        light: (N, L, 5) contributions of lamps and sky.

    Returns:
        (N, L, size ** 2).
    """
    screen = rays(size, 1)
    up, origin = scenes.stage[:, :3, 2], scenes.stage[:, :3, 3]
    height = -(up * origin).sum(1)[:, None, None]  # the camera's
    total = light[..., -1, None]
    for number, lamp in enumerate(lamps(scenes.stage).unbind(1)):
        # The camera sees the point p = m height / -(up . m) at m = (u, v, 1); p - lamp has the
        # direction of the following matrix times m. Above the horizon it is lamp - p, which leads
        # up from the lamp, where there is no object.
        lens = height * torch.eye(3).double() + lamp[:, :, None] * up[:, None, :]
        beams = pencils(scenes.poses[:, 1:], scenes.half_sizes, scenes.shapes, lamp, lens)
        shadow = _soften((cast(beams, screen).part != NO_PART).float(), size)
        shine = light[..., number] * slopes()[number]
        total = total + shine[..., None] * (1 - shadow)[:, None]
    return GROUND * total


def _normals(scenes: Scene, rows: Tensor, points: Tensor) -> Tensor:
    """(3, K) unit normals in camera coordinates at points (3, K) of unit shapes.

    Args:
        scenes: N scenes of M parts.
        rows: (K,) each point's part among all N M.
        points: (3, K).
    """
    gradients = torch.zeros_like(points)
    codes = scenes.shapes.flatten()[rows]
    for code, shape in enumerate(SHAPES.values()):
        those = (codes == code).nonzero()[:, 0]
        gradients[:, those] = outward(shape, points[:, those])
    # Gradients turn into camera coordinates by the inverse transpose of rotation times half sizes.
    halves = torch.where(scenes.shapes[..., None] == NO_PART, 1, scenes.half_sizes)
    columns = scenes.poses[:, 1:, :3, :3] / halves[..., None, :]
    table = columns.flatten(0, 1).permute(2, 1, 0).float()
    x, y, z = (
        column[:, rows] * gradient for column, gradient in zip(table, gradients, strict=True)
    )
    turned = x + y + z
    return turned / dot(turned, turned).sqrt()


def _soften(shadow: Tensor, size: int) -> Tensor:
    """Blur (N, size ** 2) by a pixel: 1 2 1 along either side, which has exact sums."""
    wide = F.pad(shadow.view(-1, 1, size, size), (1, 1, 1, 1), mode="replicate")[:, 0]
    rows = wide[:, :-2] + wide[:, 1:-1] * 2 + wide[:, 2:]
    return ((rows[..., :-2] + rows[..., 1:-1] * 2 + rows[..., 2:]) / 16).flatten(1)
