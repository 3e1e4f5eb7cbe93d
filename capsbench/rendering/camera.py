"""Cameras that stand around an object and look at its centre.

The stage is the ground's coordinate system: z up, the ground at z = 0, x toward the cameras, and so
y to their right. Cameras see x right, y down, z forward. Lengths are radii of the sphere around the
object. An object of azimuth 0 faces the camera; as the azimuth grows it turns counter-clockwise as
seen from above, so that its front moves to the right in the image.
"""

from __future__ import annotations

import torch
from kornia.geometry.camera import PinholeCamera
from torch import Tensor

from capsbench.errors import UserError

DISTANCE = 6.0  # of the camera from the object's centre, where the factor `distance` is 1
FOCAL = 2.2  # of an image's side: the sphere around an object then takes 74 % of the side
NEAREST = 0.25  # in DISTANCE: outside of any object
BASELINE = 6.0  # degrees between the directions from the object to the two eyes


def stage(elevation: Tensor, distance: Tensor, target: Tensor, eye: float = 0.0) -> Tensor:
    """The stage as cameras see it that stand around an object and look at it.

    Args:
        elevation: (N,) degrees of the camera above the horizon, more than 0 and at most 90.
        distance: (N,) from the object's centre, in the default distance, at least `NEAREST`; an
            object's size in the image goes as one over it.
        target: (N, 3) what the camera looks at, in stage coordinates.
        eye: Degrees to the right on the circle around the object; for stereo.

    Returns:
        (N, 4, 4) from stage to camera coordinates, float64.

    Raises:
        UserError: An elevation or a distance is out of range.
    """
    if not ((elevation > 0) & (elevation <= 90)).all():
        raise UserError(
            f"a camera's elevation is more than 0 and at most 90 degrees, "
            f"not {elevation.min():g} to {elevation.max():g}"
        )
    if not ((distance >= NEAREST) & distance.isfinite()).all():
        raise UserError(
            f"a camera's distance is a finite number of at least {NEAREST} (1 is the default), "
            f"not {distance.min():g} to {distance.max():g}"
        )
    tilt = elevation.double().deg2rad()
    heading = torch.full_like(tilt, eye).deg2rad()
    outward = torch.stack(
        [tilt.cos() * heading.cos(), tilt.cos() * heading.sin(), tilt.sin()], dim=1
    )
    right = torch.stack([-heading.sin(), heading.cos(), torch.zeros_like(tilt)], dim=1)
    down = torch.linalg.cross(right, outward)
    place = target + DISTANCE * distance[:, None].double() * outward
    seen = rigid(torch.stack([right, down, -outward], dim=1))
    seen[:, :3, 3] = -(seen[:, :3, :3] @ place[..., None])[..., 0]
    return seen


def pinhole(extrinsics: Tensor, size: int) -> PinholeCamera:
    """Cameras for square images; pixel centres are whole numbers.

    Args:
        extrinsics: (N, 4, 4) from anything to camera coordinates, such as a stage's or a part's
            pose in camera coordinates: its points can then be projected.
        size: Pixels of the image's side.
    """
    matrix = torch.eye(4, dtype=extrinsics.dtype)
    matrix[0, 0] = matrix[1, 1] = FOCAL * size
    matrix[:2, 2] = (size - 1) / 2
    sides = torch.full((len(extrinsics),), size, dtype=extrinsics.dtype)
    return PinholeCamera(matrix.expand_as(extrinsics), extrinsics, sides, sides)


def rays(size: int, samples: int) -> Tensor:
    """Screen coordinates: (u, v) for the ray from the camera along (u, v, 1).

    Args:
        size: Pixels of the image's side.
        samples: Rays along a pixel's side, evenly spread.

    Returns:
        (2, samples ** 2 * size ** 2), those of one place in all pixels together, float32.
    """
    camera = pinhole(torch.eye(4, dtype=torch.float64)[None], size)
    offsets = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples - 0.5
    pixels = torch.arange(size, dtype=torch.float64)
    along = (offsets[:, None] + pixels - camera.cx) / camera.fx
    grid = torch.broadcast_tensors(along[None, :, None, :], along[:, None, :, None])
    return torch.stack([axis.flatten() for axis in grid]).float()


def rigid(rotation: Tensor) -> Tensor:
    """(..., 4, 4) from rotations (..., 3, 3), without a shift."""
    matrix = torch.zeros(*rotation.shape[:-2], 4, 4, dtype=rotation.dtype)
    matrix[..., :3, :3] = rotation
    matrix[..., 3, 3] = 1
    return matrix


def turn(axis: str, degrees: Tensor) -> Tensor:
    """Rotations about an axis, counter-clockwise as it points at one.

    Args:
        axis: ``"x"``, ``"y"`` or ``"z"``.
        degrees: (...).

    Returns:
        (..., 4, 4), float64.
    """
    angle = degrees.double().deg2rad()
    first, second = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    matrix = torch.eye(4, dtype=torch.float64).repeat(*angle.shape, 1, 1)
    matrix[..., first, first] = matrix[..., second, second] = angle.cos()
    matrix[..., second, first] = angle.sin()
    matrix[..., first, second] = -angle.sin()
    return matrix
