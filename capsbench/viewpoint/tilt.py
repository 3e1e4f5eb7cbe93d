"""Tilts: turns of the image's plane out of the picture, seen by a pinhole camera."""

from __future__ import annotations

import torch
from torch import Tensor

from capsbench.errors import UserError
from capsbench.viewpoint.limits import CAMERA_DISTANCE


def tilt_matrices(tilt: Tensor, distance: float) -> Tensor:
    """Return the homographies of turns of the image's plane about its centre, seen by a camera.

    The camera looks at the centre along the plane's normal. The plane first turns about the x axis,
    then about the y axis. Positive angles follow the right-hand rule about x to the right and y
    upwards, as rotation does about the axis towards the viewer: tilt_x brings the upper edge
    nearer, tilt_y moves the right edge away.

    Args:
        tilt: (N, 2) degrees about the x and the y axis.
        distance: Distance of the camera from the centre in pixels.

    Returns:
        (N, 3, 3), from coordinates about the centre, x right and y down, to the same.
    """
    from kornia.geometry.liegroup import So3

    about_x, about_y = torch.deg2rad(tilt).unbind(-1)
    # kornia's axes are x right, y down and z into the picture: only y points the other way.
    turn = (So3.rot_y(-about_y) * So3.rot_x(about_x)).matrix()
    # K [r1 r2 t] / distance with K = diag(distance, distance, 1) and t = (0, 0, distance).
    lower = turn[:, 2:, :2] / distance
    upper = torch.cat([turn[:, :2, :2], lower], dim=1)
    return torch.cat([upper, upper.new_tensor([0.0, 0.0, 1.0]).expand(len(tilt), 3)[..., None]], 2)


def camera_distance(height: int, width: int) -> float:
    """Return the distance of the camera from an image of H x W pixels, in pixels."""
    return CAMERA_DISTANCE * max(height, width) / 2


def in_front(matrices: Tensor, height: int, width: int) -> Tensor:
    """Return which pixels of images homographies map in front of the camera.

    Args:
        matrices: (N, 3, 3), of images of H x W pixels.
        height: H in pixels.
        width: W in pixels.

    Returns:
        (N, 1, H, W) bool.
    """
    x, y = torch.arange(width).to(matrices), torch.arange(height).to(matrices)
    of_x, of_y, constant = matrices[:, 2].unbind(dim=-1)
    depth = of_x[:, None, None] * x + (of_y[:, None] * y + constant[:, None])[..., None]
    return (depth > 0)[:, None]


def is_projective(matrices: Tensor) -> Tensor:
    """Return which maps (N, 3, 3) are not affine: (N,) bool."""
    return (matrices[:, 2, :2] != 0).any(dim=-1)


def require_in_front(matrices: Tensor, height: int, width: int) -> None:
    """Refuse homographies that map a part of an image behind the camera.

    Args:
        matrices: (N, 3, 3), of images of H x W pixels.
        height: H in pixels.
        width: W in pixels.

    Raises:
        UserError: A corner is behind the camera, where it would be seen upside down.
    """
    x = matrices.new_tensor([-0.5, width - 0.5, -0.5, width - 0.5])
    y = matrices.new_tensor([-0.5, -0.5, height - 0.5, height - 0.5])
    depth = matrices[:, 2] @ torch.stack([x, y, torch.ones_like(x)])
    if hidden := int((depth <= 0).any(dim=-1).sum()):
        raise UserError(
            f"{hidden} of {len(matrices)} views turn a corner of the image behind the camera: "
            "make their tilt, scale or shear smaller"
        )
