"""Four fixed lamps and a sky, combined to six lightings as smallNORB combines its four lamps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.rendering.primitives import dot

# Positions of the lamps in stage coordinates (x toward the camera, y to its right, z up), in radii
# of the object's bounding sphere: left, right, behind the camera, behind the object.
LAMPS = ((2.0, -4.5, 7.0), (2.0, 4.5, 7.0), (5.5, 0.8, 6.0), (-3.5, 1.0, 8.0))
# Contributions of each lamp, and last of the sky, to the light on a surface that faces it.
LIGHTINGS = (
    (0.75, 0.00, 0.00, 0.00, 0.45),  # left
    (0.00, 0.75, 0.00, 0.00, 0.45),  # right
    (0.00, 0.00, 0.80, 0.00, 0.45),  # front
    (0.00, 0.00, 0.00, 0.65, 0.40),  # above and behind
    (0.22, 0.22, 0.22, 0.10, 0.38),  # all
    (0.30, 0.00, 0.20, 0.00, 0.30),  # dim
)
GROUND = 0.92  # albedo


def light(lighting: Tensor) -> Tensor:
    """Return contributions of lamps and sky (..., 5) for numbers of lightings (...), float32."""
    return torch.tensor(LIGHTINGS)[lighting]


def lamps(stage: Tensor) -> Tensor:
    """Return the lamps' positions (N, 4, 3) in camera coordinates, from stages (N, 4, 4)."""
    positions = torch.tensor(LAMPS, dtype=stage.dtype)
    return positions @ stage[:, :3, :3].mT + stage[:, None, :3, 3]


def slopes() -> Tensor:
    """Return the cosines of the angles between the lamps' directions and the vertical: (4,)."""
    return F.normalize(torch.tensor(LAMPS), dim=1)[:, 2]


def incident(normals: Tensor, stage: Tensor, owner: Tensor) -> Tensor:
    """Return the irradiance of surfaces by lamps and sky.

    Lambert's cosine for lamps, which count as infinitely far away. A vertical surface receives half
    of the sky's light.

    Args:
        normals: (3, K) unit vectors in camera coordinates.
        stage: (N, 4, 4).
        owner: (K,) index of each normal's stage.

    Returns:
        (5, K) in [0, 1].
    """
    towards = F.normalize(torch.tensor(LAMPS, dtype=stage.dtype), dim=1) @ stage[:, :3, :3].mT
    up = stage[:, None, :3, 2]
    # Components first, so that each is contiguous.
    directions = torch.cat([towards, up], dim=1).permute(1, 2, 0).float()
    *lamp, sky = (dot(direction[:, owner], normals) for direction in directions)
    return torch.stack([*lamp, 0.5 + 0.5 * sky]).clamp(0, 1)
