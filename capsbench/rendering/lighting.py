"""Four fixed lamps and a sky, mixed to six lightings as smallNORB mixes its four lamps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.rendering.primitives import dot

# Where the lamps stand, in stage coordinates (x toward the camera, y to its right, z up), in radii
# of the sphere around the object: left, right, behind the camera, behind the object.
LAMPS = ((2.0, -4.5, 7.0), (2.0, 4.5, 7.0), (5.5, 0.8, 6.0), (-3.5, 1.0, 8.0))
# What each lamp, and last the sky, contributes to the light on a surface that faces it.
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
    """(..., 5) contributions of lamps and sky from numbers of lightings (...), float32."""
    return torch.tensor(LIGHTINGS)[lighting]


def lamps(stage: Tensor) -> Tensor:
    """(N, 4, 3) the lamps in camera coordinates, from the stages (N, 4, 4)."""
    places = torch.tensor(LAMPS, dtype=stage.dtype)
    return places @ stage[:, :3, :3].mT + stage[:, None, :3, 3]


def slopes() -> Tensor:
    """(4,) the cosines of the lamps' directions with the vertical."""
    return F.normalize(torch.tensor(LAMPS), dim=1)[:, 2]


def incident(normals: Tensor, stage: Tensor, owner: Tensor) -> Tensor:
    """How strongly lamps and sky shine on surfaces.

    Lambert's cosine for a lamp, as if it were far away; a vertical surface sees half the sky.

    Args:
        normals: (3, K) unit vectors in camera coordinates.
        stage: (N, 4, 4).
        owner: (K,) each normal's stage.

    Returns:
        (5, K) in [0, 1].
    """
    towards = F.normalize(torch.tensor(LAMPS, dtype=stage.dtype), dim=1) @ stage[:, :3, :3].mT
    up = stage[:, None, :3, 2]
    # Components first, so that each is contiguous.
    directions = torch.cat([towards, up], dim=1).permute(1, 2, 0).float()
    *lamp, sky = (dot(direction[:, owner], normals) for direction in directions)
    return torch.stack([*lamp, 0.5 + 0.5 * sky]).clamp(0, 1)
