"""Parts with names and poses, and toys made of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.rendering.camera import turn
from capsbench.rendering.primitives import CODES, support

Point = tuple[float, float, float]
MIRROR = torch.tensor([1.0, -1.0, 1.0], dtype=torch.float64)  # left to right


class ToyPart(NamedTuple):
    """A named ellipsoid, box or cylinder of a toy."""

    name: str
    shape: str
    """``"ellipsoid"``, ``"box"`` or ``"cylinder"`` (about the part's z)."""
    pose: Tensor
    """(4, 4) rigid, part -> object coordinates (x forward, y left, z up, ground at 0), float64."""
    half_sizes: Tensor
    """(3,) float64."""
    albedo: float = 0.6


class Toy(NamedTuple):
    """An object: its parts, and the point at which a camera is directed."""

    parts: tuple[ToyPart, ...]
    centre: Tensor
    """(3,) the middle of its bounding box, object coordinates, float64."""


def piece(name: str, shape: str, at: Point, half: Point, **turns: float) -> ToyPart:
    """Return a part with a given centre and rotation.

    Args:
        name: Name of the part.
        shape: Shape of the part.
        at: Centre of the part.
        half: Half sizes of the part, before it is rotated.
        **turns: Degrees about ``x``, ``y`` and ``z``, applied in the order given. A positive ``y``
            lowers the front, a positive ``z`` turns the front to the left.
    """
    pose = torch.eye(4, dtype=torch.float64)
    for axis, degrees in turns.items():
        pose = turn(axis, torch.tensor(degrees)) @ pose
    pose[:3, 3] = torch.tensor(at, dtype=torch.float64)
    return ToyPart(name, shape, pose, torch.tensor(half, dtype=torch.float64))


def limb(name: str, start: Point, end: Point, radius: float, shape: str = "cylinder") -> ToyPart:
    """Return a part that extends from one point to another along its z axis."""
    a, b = (torch.tensor(point, dtype=torch.float64) for point in (start, end))
    along = (b - a) / torch.linalg.vector_norm(b - a)
    # Any perpendicular direction is right: the part is round.
    across = torch.tensor([0.0, 1.0, 0.0] if abs(along[1]) < 0.9 else [1.0, 0.0, 0.0]).double()
    x = torch.linalg.cross(across, along)
    x = x / torch.linalg.vector_norm(x)
    pose = torch.eye(4, dtype=torch.float64)
    pose[:3, :3] = torch.stack([x, torch.linalg.cross(along, x), along], dim=1)
    pose[:3, 3] = (a + b) / 2
    half = float(torch.linalg.vector_norm(b - a)) / 2
    return ToyPart(name, shape, pose, torch.tensor([radius, radius, half], dtype=torch.float64))


def wheels(front: float, back: float, side: float, radius: float, width: float) -> list[ToyPart]:
    """Return four wheels on the ground, two at x = ``front``, two at x = ``back``."""
    return [
        wheel
        for place, x in (("front", front), ("back", back))
        for wheel in both_sides(_wheel(f"{place} wheel", x, side, radius, width))
    ]


def both_sides(part: ToyPart) -> list[ToyPart]:
    """Return a part at the left and its mirror image at the right; ``part`` may be either."""
    other = part.pose.clone()
    other[:3, :3] *= MIRROR[:, None] * MIRROR
    other[1, 3] *= -1
    left, right = (part.pose, other) if part.pose[1, 3] > 0 else (other, part.pose)
    return [
        part._replace(name=f"left {part.name}", pose=left),
        part._replace(name=f"right {part.name}", pose=right),
    ]


def in_common_size(parts: Sequence[ToyPart]) -> Toy:
    """Return a toy in the common size: within a unit sphere, its lowest point at 0."""
    unscaled = on_ground(parts)
    directions = sphere(2000)
    radius = (extents(unscaled.parts, directions) - directions @ unscaled.centre).max()
    sized = [
        with_centre(part, part.pose[:3, 3] / radius)._replace(half_sizes=part.half_sizes / radius)
        for part in unscaled.parts
    ]
    return Toy(tuple(sized), unscaled.centre / radius)


def on_ground(parts: Sequence[ToyPart]) -> Toy:
    """Return a toy with its lowest point at 0 and its bounding box centred above the origin."""
    axes = torch.eye(3, dtype=torch.float64)
    high, low = extents(parts, axes).amax(0), -extents(parts, -axes).amax(0)
    middle = (high + low) / 2
    foot = torch.stack([middle[0], middle[1], low[2]])
    shifted = (with_centre(part, part.pose[:3, 3] - foot) for part in parts)
    return Toy(tuple(shifted), middle - foot)


def with_centre(part: ToyPart, centre: Tensor) -> ToyPart:
    """Return a part with its centre at a point (3,)."""
    pose = part.pose.clone()
    pose[:3, 3] = centre
    return part._replace(pose=pose)


def sphere(count: int) -> Tensor:
    """Return (count, 3) unit vectors, spread over a sphere along a spiral."""
    number = torch.arange(count, dtype=torch.float64) + 0.5
    z = 1 - 2 * number / count
    angle = number * torch.pi * (5**0.5 - 1)
    across = (1 - z * z).sqrt()
    return torch.stack([across * angle.cos(), across * angle.sin(), z], dim=1)


def extents(parts: Sequence[ToyPart], directions: Tensor) -> Tensor:
    """Return (M, D), the extent of each part along unit vectors (D, 3)."""
    poses = torch.stack([part.pose for part in parts])
    half_sizes = torch.stack([part.half_sizes for part in parts])
    shapes = torch.tensor([CODES[part.shape] for part in parts])
    return support(poses, half_sizes, shapes, directions)


def _wheel(name: str, x: float, side: float, radius: float, width: float) -> ToyPart:
    return piece(name, "cylinder", (x, side, radius), (radius, radius, width), x=90)
