"""Ellipsoid, box and cylinder: ray intersection, normals and support function.

Each is a rotated, scaled and shifted unit shape: the unit sphere, the cube from -1 to 1, or the
cylinder of radius 1 about z from -1 to 1. Rays are transformed to the coordinates of the unit
shape. Computations per ray use only operations that IEEE 754 rounds correctly (+, -, x, /, square
root, comparisons), so that images have the same bits in every batch.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor


class Shape(NamedTuple):
    """Unit shape: round in its first axes, flat (between -1 and 1) in the others."""

    round_axes: int
    radius: float  # of the bounding sphere

    @property
    def flat_axes(self) -> range:
        """Axes along which the shape ends in planes."""
        return range(self.round_axes, 3)


SHAPES = {
    "ellipsoid": Shape(3, 1.0),
    "box": Shape(0, 3**0.5),
    "cylinder": Shape(2, 2**0.5),
}
CODES = {name: code for code, name in enumerate(SHAPES)}
NO_PART = -1  # the code of an unused slot
TINY = 1e-20  # replaces a zero direction: the plane is then hit far away, on the correct side


def enter(shape: Shape, origin: Tensor, direction: Tensor) -> Tensor:
    """Return the positions at which rays enter a unit shape.

    Args:
        shape: Unit shape.
        origin: (3, K) starts of the rays, outside of the shape.
        direction: (3, K), of any length.

    Returns:
        (K,) t of the points ``origin + t * direction``; inf if a ray misses the shape or the shape
        lies behind its start.
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
    """Return a unit shape's implicit function: below 1 inside, 1 on the surface, above 1 outside.

    It is the maximum of the radius in the round axes and the distances from the centre along the
    flat ones. It grows linearly along rays from the centre.

    Args:
        shape: Unit shape.
        points: (3, ...).

    Returns:
        (...).
    """
    return _heights(shape, points).amax(0)


def outward(shape: Shape, points: Tensor) -> Tensor:
    """Return the gradient of `gauge` at points of the surface.

    Args:
        shape: Unit shape.
        points: (3, K).

    Returns:
        (3, K), of unit length up to rounding.
    """
    largest = _heights(shape, points).argmax(0)
    first = int(shape.round_axes > 0)
    gradient = torch.zeros_like(points)
    if first:
        gradient[: shape.round_axes] = points[: shape.round_axes] * (largest == 0)
    for row, axis in enumerate(shape.flat_axes, start=first):
        gradient[axis] = points[axis] * (largest == row)
    return gradient


def support(poses: Tensor, half_sizes: Tensor, shapes: Tensor, directions: Tensor) -> Tensor:
    """Return the support function of parts: their extent along directions.

    Args:
        poses: (..., 4, 4) part -> object coordinates.
        half_sizes: (..., 3).
        shapes: (...) codes.
        directions: (D, 3) unit vectors.

    Returns:
        (..., D) the largest scalar product of a point of the part and the direction; -inf for an
        unused slot.
    """
    centre = poses[..., :3, 3] @ directions.T
    along = (half_sizes[..., None, :] * (directions @ poses[..., :3, :3])).abs()
    result = torch.full_like(centre, -torch.inf)
    for code, shape in enumerate(SHAPES.values()):
        flat = along[..., shape.round_axes :].sum(-1)
        extent = centre + along[..., : shape.round_axes].norm(dim=-1) + flat
        result = torch.where(shapes[..., None] == code, extent, result)
    return result


def dot(a: Tensor, b: Tensor) -> Tensor:
    """Return the scalar product over the first axis, in a fixed order of additions."""
    total = a[0] * b[0]
    for p, q in zip(a[1:], b[1:], strict=True):
        total = total + p * q
    return total


def _heights(shape: Shape, points: Tensor) -> Tensor:
    """Return the distances whose maximum is `gauge`: the radius, if any, then the planes."""
    flat = points[shape.round_axes :].abs()
    if not shape.round_axes:
        return flat
    side = points[: shape.round_axes]
    return torch.cat([dot(side, side).sqrt()[None], flat])
