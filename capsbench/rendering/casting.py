"""First hits of pencils of rays (rays from one point) with unions of parts."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.rendering.primitives import NO_PART, SHAPES, enter

SLACK = 1.02  # factor of the bounding spheres' radii that covers the rounding of the sphere test


class Pencils(NamedTuple):
    """Rays in the unit coordinates of every part of N objects.

    The ray at the screen coordinates (u, v) has the direction ``lens @ (u, v, 1)``.
    """

    origins: Tensor
    """(N, M, 3) float64."""
    lenses: Tensor
    """(N, M, 3, 3) float64."""
    shapes: Tensor
    """(N, M) codes."""


class Hits(NamedTuple):
    """First hits of N x P rays."""

    depth: Tensor
    """(N, P) in lengths of the ray's direction; inf without a hit."""
    part: Tensor
    """(N, P) index of the part; ``NO_PART`` without a hit."""


def pencils(
    poses: Tensor, half_sizes: Tensor, shapes: Tensor, origin: Tensor, lens: Tensor
) -> Pencils:
    """Transform pencils of rays to the unit coordinates of parts.

    Args:
        poses: (N, M, 4, 4) of parts, in the coordinates of the rays.
        half_sizes: (N, M, 3).
        shapes: (N, M) codes.
        origin: (N, 3) common start of the rays.
        lens: (N, 3, 3) from screen coordinates to directions.
    """
    # Any value works for an unused slot, since its rays are never followed.
    halves = torch.where(shapes[..., None] == NO_PART, 1, half_sizes)
    to_unit = poses[..., :3, :3].mT / halves[..., None]
    origins = to_unit @ (origin[:, None] - poses[..., :3, 3])[..., None]
    return Pencils(origins[..., 0], to_unit @ lens[:, None], shapes)


def cast(rays: Pencils, screen: Tensor) -> Hits:
    """Follow every ray to the first part that it hits.

    A ray hits the bounding sphere of a part (in unit coordinates) where a quadratic form of its
    screen coordinates is positive. One matrix product evaluates all forms; only rays that hit a
    sphere are intersected with the part itself.

    Args:
        rays: N pencils.
        screen: (2, P) screen coordinates of the rays, float32.
    """
    (count, slots), points = rays.shapes.shape, screen.shape[1]
    u, v = screen
    monomials = torch.stack([u * u, u * v, v * v, u, v, torch.ones_like(u)])
    origins, lenses, codes = (tensor.flatten(0, 1) for tensor in rays)
    owner = torch.arange(count).repeat_interleave(slots)
    slot = torch.arange(slots).repeat(count)
    keys, depths, parts = [], [], []
    for code, shape in enumerate(SHAPES.values()):
        rows = (codes == code).nonzero()[:, 0]
        form = _sphere_forms(origins[rows], lenses[rows], SLACK * shape.radius)
        index, pixel = ((form.float() @ monomials) > 0).nonzero(as_tuple=True)
        depth = enter(shape, *unit_rays(rays, screen, rows[index], pixel))
        hit = (depth < torch.inf).nonzero()[:, 0]
        rows, pixel = rows[index[hit]], pixel[hit]
        keys.append(owner[rows] * points + pixel)
        depths.append(depth[hit])
        parts.append(slot[rows])
    key, depth, part = torch.cat(keys), torch.cat(depths), torch.cat(parts)
    nearest = torch.full((count * points,), torch.inf)
    nearest.scatter_reduce_(0, key, depth, "amin")
    first = (depth == nearest[key]).nonzero()[:, 0]
    # Of parts at equal depth, the last one is visible.
    visible = torch.full((count * points,), NO_PART)
    visible.scatter_reduce_(0, key[first], part[first], "amax")
    return Hits(nearest.view(count, points), visible.view(count, points))


def unit_rays(rays: Pencils, screen: Tensor, rows: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
    """Return single rays, each in the unit coordinates of one part.

    Args:
        rays: N pencils in the unit coordinates of M parts.
        screen: (2, P) screen coordinates.
        rows: (K,) index of each ray's part among all N M.
        pixel: (K,) index of each ray among the P of its pencil.

    Returns:
        (3, K) origins and (3, K) directions, float32.
    """
    origins, lenses = rays.origins.flatten(0, 1), rays.lenses.flatten(0, 1)
    # Components first, so that each is contiguous.
    table = torch.cat([origins.T, lenses.permute(2, 1, 0).flatten(0, 1)]).float()
    selected = table[:, rows]
    u, v = screen[:, pixel]
    return selected[:3], selected[3:6] * u + selected[6:9] * v + selected[9:]


def _sphere_forms(origins: Tensor, lenses: Tensor, radius: float) -> Tensor:
    """Return quadratic forms (R, 6) that are positive where rays hit a sphere about the origin.

    A ray from o along d hits it if ``|o x d| < radius |d|``; both vectors are linear in (u, v, 1).
    """
    moments = torch.linalg.cross(origins[..., None], lenses, dim=-2)
    form = radius**2 * lenses.mT @ lenses - moments.mT @ moments
    both = form + form.mT
    return torch.stack(
        [form[:, 0, 0], both[:, 0, 1], form[:, 1, 1], both[:, 0, 2], both[:, 1, 2], form[:, 2, 2]],
        dim=-1,
    )
