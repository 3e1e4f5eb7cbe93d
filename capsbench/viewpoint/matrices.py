"""Matrices of views, made by kornia: maps of pixel coordinates that compose by their product."""

from __future__ import annotations

import torch
from torch import Tensor

from capsbench.capsules.precision import full_precision
from capsbench.viewpoint.tilt import tilt_matrices


@full_precision
def affine_matrices(
    centre: Tensor, rotation: Tensor, scale: Tensor, shear: Tensor, shift: Tensor
) -> Tensor:
    """Return maps that scale, shear and rotate about a centre and then shift.

    Args:
        centre: (N, 2) pixels, x and y.
        rotation: (N,) degrees, counter-clockwise.
        scale: (N, 2) factors of x and y.
        shear: (N,) degrees; positive moves the lower rows to the right.
        shift: (N, 2) pixels, x right and y down.

    Returns:
        (N, 3, 3) of the dtype of the arguments.
    """
    from kornia.geometry.transform import get_affine_matrix2d

    # kornia turns clockwise, shears the other way, and shears before it scales.
    scale_x, scale_y = scale.unbind(-1)
    slant = torch.atan(torch.tan(torch.deg2rad(shear)) * scale_y / scale_x)
    return get_affine_matrix2d(shift, centre, scale, -rotation, -slant)


@full_precision
def tilted(
    matrices: Tensor, centre: Tensor, tilt: Tensor, shift: Tensor, distance: float
) -> Tensor:
    """Return maps followed by a tilt about a centre and a shift.

    Args:
        matrices: (N, 3, 3) maps.
        centre: (N, 2) pixels, x and y.
        tilt: (N, 2) degrees about the x and the y axis, see `capsbench.viewpoint.tilt`.
        shift: (N, 2) pixels, x right and y down.
        distance: Distance of the camera from the image in pixels.
    """
    turn = tilt_matrices(tilt, distance)
    return translations(centre + shift) @ turn @ translations(-centre) @ matrices


def translations(offset: Tensor) -> Tensor:
    """Return the matrices (N, 3, 3) of shifts by (N, 2) pixels, x right and y down."""
    matrices = torch.eye(3).to(offset).repeat(len(offset), 1, 1)
    matrices[:, :2, 2] = offset
    return matrices


def with_exact_lattice(matrices: Tensor) -> Tensor:
    """Round the maps (N, 3, 3) that differ by rounding alone from whole numbers.

    Sines of quarter turns and sums of whole shifts are then exact, so that
    `capsbench.viewpoint.warp.warp` copies pixels. The rounding grows with the size of images, and
    so with the largest entry.
    """
    whole = matrices.round()
    largest = matrices.abs().amax(dim=(-2, -1), keepdim=True).clamp_min(1)
    tolerance = 100 * torch.finfo(matrices.dtype).eps * largest
    exact = ((matrices - whole).abs() < tolerance).all(-1).all(-1)
    return torch.where(exact[:, None, None], whole, matrices)
