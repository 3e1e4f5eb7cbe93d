"""Pencils of rays (all from one point) through unions of parts: what they meet first, and where."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.rendering.primitives import NO_PART, SHAPES, enter

SLACK = 1.02  # of the spheres that say which rays to look at closely; covers the rounding there


class Pencils(NamedTuple):
    """Rays in the unit coordinates of every part of N objects.

    The direction of the ray at the screen coordinates (u, v) is ``lens @ (u, v, 1)``.
    """

    origins: Tensor
    """(N, M, 3) float64."""
    lenses: Tensor
    """(N, M, 3, 3) float64."""
    shapes: Tensor
    """(N, M) codes."""


class Hits(NamedTuple):
    """What N x P rays meet first."""

    depth: Tensor
    """(N, P) in lengths of the ray's direction; inf where nothing is met."""
    part: Tensor
    """(N, P) the part's place; `NO_PART` where nothing is met."""


def pencils(
    poses: Tensor, half_sizes: Tensor, shapes: Tensor, origin: Tensor, lens: Tensor
) -> Pencils:
    """Bring pencils of rays to the unit coordinates of parts.

    Args:
        poses: (N, M, 4, 4) of parts, in the coordinates of the rays.
        half_sizes: (N, M, 3).
        shapes: (N, M) codes.
        origin: (N, 3) where the rays begin.
        lens: (N, 3, 3) from screen coordinates to directions.
    """
    # Any number would do for an unused place, whose rays are never followed.
    halves = torch.where(shapes[..., None] == NO_PART, 1, half_sizes)
    to_unit = poses[..., :3, :3].mT / halves[..., None]
    origins = to_unit @ (origin[:, None] - poses[..., :3, 3])[..., None]
    return Pencils(origins[..., 0], to_unit @ lens[:, None], shapes)


def cast(rays: Pencils, screen: Tensor) -> Hits:
    """Follow every ray to the first part that it meets.

    Rays that pass a part's bounding sphere (an ellipsoid about the part) are told by one matrix
    product, since whether they do is a quadratic form of the screen coordinates. Only the others
    are looked at one by one.

    Args:
        rays: N pencils.
        screen: (2, P) screen coordinates of the rays, float32.
    """
    (count, places), points = rays.shapes.shape, screen.shape[1]
    u, v = screen
    monomials = torch.stack([u * u, u * v, v * v, u, v, torch.ones_like(u)])
    origins, lenses, codes = (tensor.flatten(0, 1) for tensor in rays)
    owner = torch.arange(count).repeat_interleave(places)
    place = torch.arange(places).repeat(count)
    keys, depths, parts = [], [], []
    for code, shape in enumerate(SHAPES.values()):
        rows = (codes == code).nonzero()[:, 0]
        form = _passing(origins[rows], lenses[rows], SLACK * shape.radius)
        which, pixel = ((form.float() @ monomials) > 0).nonzero(as_tuple=True)
        depth = enter(shape, *unit_rays(rays, screen, rows[which], pixel))
        met = (depth < torch.inf).nonzero()[:, 0]
        rows, pixel = rows[which[met]], pixel[met]
        keys.append(owner[rows] * points + pixel)
        depths.append(depth[met])
        parts.append(place[rows])
    key, depth, part = torch.cat(keys), torch.cat(depths), torch.cat(parts)
    nearest = torch.full((count * points,), torch.inf)
    nearest.scatter_reduce_(0, key, depth, "amin")
    first = (depth == nearest[key]).nonzero()[:, 0]
    # Of parts at the very same depth, the last one is seen.
    seen = torch.full((count * points,), NO_PART)
    seen.scatter_reduce_(0, key[first], part[first], "amax")
    return Hits(nearest.view(count, points), seen.view(count, points))


def unit_rays(rays: Pencils, screen: Tensor, rows: Tensor, pixel: Tensor) -> tuple[Tensor, Tensor]:
    """Rays one by one, each in the unit coordinates of one part.

    Args:
        rays: N pencils in the unit coordinates of M parts.
        screen: (2, P) screen coordinates.
        rows: (K,) each ray's part among all N M.
        pixel: (K,) each ray's place on the screen.

    Returns:
        (3, K) origins and (3, K) directions, float32.
    """
    origins, lenses = rays.origins.flatten(0, 1), rays.lenses.flatten(0, 1)
    # Components first, so that each is contiguous.
    table = torch.cat([origins.T, lenses.permute(2, 1, 0).flatten(0, 1)]).float()
    found = table[:, rows]
    u, v = screen[:, pixel]
    return found[:3], found[3:6] * u + found[6:9] * v + found[9:]


def _passing(origins: Tensor, lenses: Tensor, radius: float) -> Tensor:
    """(R, 6) the quadratic forms that are positive where rays pass a sphere about zero.

    A ray from o along d passes it where ``|o x d| < radius |d|``, and both vectors are linear in
    (u, v, 1).
    """
    moments = torch.linalg.cross(origins[..., None], lenses, dim=-2)
    form = radius**2 * lenses.mT @ lenses - moments.mT @ moments
    both = form + form.mT
    return torch.stack(
        [form[:, 0, 0], both[:, 0, 1], form[:, 1, 1], both[:, 0, 2], both[:, 1, 2], form[:, 2, 2]],
        dim=-1,
    )
