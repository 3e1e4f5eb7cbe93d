"""Cameras around an object, directed at its centre.

The stage is the coordinate system of the ground: z up, the ground at z = 0, x toward the cameras,
y to their right. Camera coordinates: x right, y down, z forward. Lengths are in radii of the
bounding sphere of the object. An object of azimuth 0 faces the camera. As the azimuth grows, the
object turns counter-clockwise as seen from above, so that its front moves to the right in the
image.
"""

from __future__ import annotations

import torch
from kornia.geometry.camera import PinholeCamera
from torch import Tensor

from capsbench.errors import UserError

DISTANCE = 6.0  # of the camera from the object's centre where the factor `distance` is 1
FOCAL = 2.2  # in sides of the image; the bounding sphere of an object then spans 74 % of the side
MIN_DISTANCE = 0.25  # in units of DISTANCE: outside of any object
BASELINE = 6.0  # degrees between the directions from the object to the two eyes


def stage(elevation: Tensor, distance: Tensor, target: Tensor, eye: float = 0.0) -> Tensor:
    """Return the pose of the stage in the coordinates of cameras around an object.

    Args:
        elevation: (N,) degrees of the camera above the horizon, in (0, 90].
        distance: (N,) from the object's centre, in units of `DISTANCE`, at least `MIN_DISTANCE`.
            The size of the object in the image is inversely proportional to it.
        target: (N, 3) point at the centre of the image, in stage coordinates.
        eye: Degrees to the right on the circle around the object; for stereo.

    Returns:
        (N, 4, 4) from stage to camera coordinates, float64.

    Raises:
        UserError: An elevation or a distance is out of range.
    """
    if not ((elevation > 0) & (elevation <= 90)).all():
        raise UserError(
            f"expected an elevation above 0 and up to 90 degrees, "
            f"got {elevation.min():g} to {elevation.max():g}"
        )
    if not ((distance >= MIN_DISTANCE) & distance.isfinite()).all():
        raise UserError(
            f"expected a finite distance of at least {MIN_DISTANCE} (the default is 1), "
            f"got {distance.min():g} to {distance.max():g}"
        )
    tilt = elevation.double().deg2rad()
    heading = torch.full_like(tilt, eye).deg2rad()
    outward = torch.stack(
        [tilt.cos() * heading.cos(), tilt.cos() * heading.sin(), tilt.sin()], dim=1
    )
    right = torch.stack([-heading.sin(), heading.cos(), torch.zeros_like(tilt)], dim=1)
    down = torch.linalg.cross(right, outward)
    position = target + DISTANCE * distance[:, None].double() * outward
    extrinsics = rigid(torch.stack([right, down, -outward], dim=1))
    extrinsics[:, :3, 3] = -(extrinsics[:, :3, :3] @ position[..., None])[..., 0]
    return extrinsics


def pinhole(extrinsics: Tensor, size: int) -> PinholeCamera:
    """Return pinhole cameras for square images; pixel centres have integer coordinates.

    Args:
        extrinsics: (N, 4, 4) from any coordinates to camera coordinates, such as the pose of a
            stage or a part. The cameras project points in those coordinates.
        size: Side of the image in pixels.
    """
    matrix = torch.eye(4, dtype=extrinsics.dtype)
    matrix[0, 0] = matrix[1, 1] = FOCAL * size
    matrix[:2, 2] = (size - 1) / 2
    sides = torch.full((len(extrinsics),), size, dtype=extrinsics.dtype)
    return PinholeCamera(matrix.expand_as(extrinsics), extrinsics, sides, sides)


def rays(size: int, samples: int) -> Tensor:
    """Return screen coordinates (u, v) of the rays from the camera along (u, v, 1).

    Args:
        size: Side of the image in pixels.
        samples: Rays along the side of a pixel, evenly spaced.

    Returns:
        (2, samples ** 2 * size ** 2) float32; the sample is the slow index, the pixel the fast one.
    """
    camera = pinhole(torch.eye(4, dtype=torch.float64)[None], size)
    offsets = (torch.arange(samples, dtype=torch.float64) + 0.5) / samples - 0.5
    pixels = torch.arange(size, dtype=torch.float64)
    along = (offsets[:, None] + pixels - camera.cx) / camera.fx
    grid = torch.broadcast_tensors(along[None, :, None, :], along[:, None, :, None])
    return torch.stack([axis.flatten() for axis in grid]).float()


def rigid(rotation: Tensor) -> Tensor:
    """Return rigid transformations (..., 4, 4) of rotations (..., 3, 3), without a shift."""
    matrix = torch.zeros(*rotation.shape[:-2], 4, 4, dtype=rotation.dtype)
    matrix[..., :3, :3] = rotation
    matrix[..., 3, 3] = 1
    return matrix


def turn(axis: str, degrees: Tensor) -> Tensor:
    """Return right-handed rotations about an axis.

    Args:
        axis: ``"x"``, ``"y"`` or ``"z"``.
        degrees: (...) angles.

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
