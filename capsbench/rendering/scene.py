"""Parts of objects as tensors, and scenes: their exact poses in camera coordinates."""

from __future__ import annotations

from typing import NamedTuple, Self

import torch
from torch import Tensor

from capsbench.rendering.camera import BASELINE, stage, turn


class Parts(NamedTuple):
    """N objects of at most M parts. Unused slots have the code ``NO_PART`` and zeros elsewhere.

    Object coordinates: x forward, y to the object's left, z up, the ground at z = 0.
    """

    poses: Tensor
    """(N, M, 4, 4) rigid, part -> object coordinates, float64."""
    half_sizes: Tensor
    """(N, M, 3) of ellipsoids, boxes and cylinders (about the part's z), float64."""
    shapes: Tensor
    """(N, M) codes: indices of names in ``SHAPES``."""
    albedo: Tensor
    """(N, M) share of the light that a part reflects, float64."""
    centres: Tensor
    """(N, 3) points that cameras are directed at, object coordinates, float64."""

    def rows(self, index: Tensor) -> Self:
        """Return the objects of an index (K,)."""
        return type(self)(*(tensor[index] for tensor in self))


class Scene(NamedTuple):
    """N objects in the coordinates of N cameras.

    A scene needs no camera to be rendered: the camera is at the origin, directed along z.
    """

    poses: Tensor
    """(N, 1 + M, 4, 4) of the object and its parts; zeros for unused slots; float64."""
    half_sizes: Tensor
    shapes: Tensor
    albedo: Tensor
    stage: Tensor
    """(N, 4, 4) pose of the stage, which holds the ground and the lamps; float64."""

    def rows(self, index: Tensor | slice) -> Self:
        """Return the scenes of an index (K,) or slice."""
        return type(self)(*(tensor[index] for tensor in self))


def scene(
    parts: Parts, elevation: Tensor, azimuth: Tensor, distance: Tensor, eye: float = 0.0
) -> Scene:
    """Return objects in the coordinates of cameras.

    An object's pose is the stage's, turned by the azimuth about the vertical. A part's pose is the
    object's times the part's own.

    Args:
        parts: N objects.
        elevation: (N,) degrees of the camera above the horizon.
        azimuth: (N,) degrees by which the object is turned, counter-clockwise from above.
        distance: (N,) of the camera, in units of ``camera.DISTANCE``.
        eye: Degrees to the right on the camera's circle; for stereo.

    Raises:
        UserError: An elevation or a distance is out of range.
    """
    heading = turn("z", azimuth)
    target = (heading[:, :3, :3] @ parts.centres[..., None])[..., 0]
    ground = stage(elevation, distance, target, eye)
    object_pose = ground @ heading
    poses = torch.cat([object_pose[:, None], object_pose[:, None] @ parts.poses], dim=1)
    return Scene(poses, parts.half_sizes, parts.shapes, parts.albedo, ground)


def eyes(stereo: bool) -> list[float]:
    """Return the cameras' positions in degrees: one camera, or the left and the right one."""
    return [-BASELINE / 2, BASELINE / 2] if stereo else [0.0]
