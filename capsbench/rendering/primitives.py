"""Ellipsoid, box and cylinder: where a ray enters them, their normals, how far they reach.

Each is one unit shape, turned, stretched by half sizes and moved: the unit sphere, the cube from -1
to 1, the cylinder of radius 1 about z from -1 to 1. Rays are brought to the unit shape. What is
computed per ray uses only operations that IEEE 754 rounds exactly (+, -, x, /, square root,
comparisons), so that images have the same bits however they are batched.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Shape(NamedTuple):
    """A unit shape: round in its first axes, flat (between -1 and 1) in the others."""

    round_axes: int
    radius: float  # of the sphere around the unit shape

    @property
    def flat_axes(self) -> range:
        """The axes along which the shape ends in planes."""
        return range(self.round_axes, 3)


SHAPES = {
    "ellipsoid": Shape(3, 1.0),
    "box": Shape(0, 3**0.5),
    "cylinder": Shape(2, 2**0.5),
}
CODES = {name: code for code, name in enumerate(SHAPES)}
NO_PART = -1  # the code of an unused place
TINY = 1e-20  # in place of a zero direction: the plane is met far away, on the right side


def enter(shape: Shape, origin: Tensor, direction: Tensor) -> Tensor:
    """Where rays enter a unit shape.

    Args:
        shape: The shape.
        origin: (3, K) where the rays begin, outside of the shape.
        direction: (3, K), of any length.

    Returns:
        (K,) t of the point ``origin + t * direction``; inf where a ray misses the shape or the
        shape lies behind it.
    """
    near = torch.full_like(origin[0], -torch.inf)
    far = torch.full_like(near, torch.inf)
    if shape.round_axes:
        o, d = origin[: shape.round_axes], direction[: shape.round_axes]
        square = dot(d, d).clamp_min(TINY)
        foot = -dot(o, d) / square  # the point of the ray that is nearest to the axis
        closest = torch.stack([p + foot * q for p, q in zip(o, d, strict=True)])
        room = 1 - dot(closest, closest)
        half = (room.clamp_min(0) / square).sqrt()
        near = torch.where(room < 0, torch.inf, foot - half)
        far = torch.where(room < 0, -torch.inf, foot + half)
    for axis in shape.flat_axes:
        inverse = 1 / torch.where(direction[axis] == 0, TINY, direction[axis])
        one, other = (-1 - origin[axis]) * inverse, (1 - origin[axis]) * inverse
        near = torch.maximum(near, torch.minimum(one, other))
        far = torch.minimum(far, torch.maximum(one, other))
    return torch.where((near <= far) & (near > 0), near, torch.inf)


def gauge(shape: Shape, points: Tensor) -> Tensor:
    """A unit shape's implicit function: below 1 inside, 1 on the surface, above 1 outside.

    It is the largest of the distance from the axis, or centre, of the round axes and the distances
    from the middle along the flat ones, and grows in proportion along rays from the centre.

    Args:
        shape: The shape.
        points: (3, ...).

    Returns:
        (...).
    """
    return _heights(shape, points).amax(0)


def outward(shape: Shape, points: Tensor) -> Tensor:
    """The gradient of `gauge` at points of the surface.

    Args:
        shape: The shape.
        points: (3, K).

    Returns:
        (3, K), of unit length up to rounding.
    """
    largest = _heights(shape, points).argmax(0)
    first = int(shape.round_axes > 0)
    gradient = torch.zeros_like(points)
    if first:
        gradient[: shape.round_axes] = points[: shape.round_axes] * (largest == 0)
    for place, axis in enumerate(shape.flat_axes, start=first):
        gradient[axis] = points[axis] * (largest == place)
    return gradient


def reach(poses: Tensor, half_sizes: Tensor, shapes: Tensor, directions: Tensor) -> Tensor:
    """How far parts reach along directions: the support function.

    Args:
        poses: (..., 4, 4) part -> object coordinates.
        half_sizes: (..., 3).
        shapes: (...) codes.
        directions: (D, 3) unit vectors.

    Returns:
        (..., D) the largest scalar product of a point of the part and the direction; -inf for an
        unused place.
    """
    centre = poses[..., :3, 3] @ directions.T
    along = (half_sizes[..., None, :] * (directions @ poses[..., :3, :3])).abs()
    found = torch.full_like(centre, -torch.inf)
    for code, shape in enumerate(SHAPES.values()):
        flat = along[..., shape.round_axes :].sum(-1)
        reached = centre + along[..., : shape.round_axes].norm(dim=-1) + flat
        found = torch.where(shapes[..., None] == code, reached, found)
    return found


def dot(a: Tensor, b: Tensor) -> Tensor:
    """The scalar product over the first axis, which is short, in a fixed order of additions."""
    total = a[0] * b[0]
    for p, q in zip(a[1:], b[1:], strict=True):
        total = total + p * q
    return total


def _heights(shape: Shape, points: Tensor) -> Tensor:
    """The distances of which `gauge` is the largest: from the axis if there is one, then planes."""
    flat = points[shape.round_axes :].abs()
    if not shape.round_axes:
        return flat
    side = points[: shape.round_axes]
    return torch.cat([dot(side, side).sqrt()[None], flat])
