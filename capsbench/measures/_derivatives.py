"""Lie derivatives: derivatives of a function of images with respect to their movement."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Hashable, Mapping
from typing import Any, Literal, NamedTuple, TypeVar

import torch
from torch import Tensor

from capsbench.errors import NotMeasuredError
from capsbench.measures._catmull_rom import catmull_rom_warp
from capsbench.measures._observations import unobserved
from capsbench.viewpoint.matrices import translations
from capsbench.viewpoint.tilt import camera_distance

Direction = Literal["shift_x", "shift_y", "rotation", "scale", "shear", "tilt_x", "tilt_y"]
Key = TypeVar("Key", bound=Hashable)
DEGREE = math.pi / 180


class Derivative(NamedTuple):
    """A function of B images, and its derivative as they move.

    Attributes:
        value: (B, ...) f(x).
        derivative: (B, ...) L f(x), per pixel of shift, per degree of rotation, shear and tilt, per
            unit of log scale.
    """

    value: Tensor
    derivative: Tensor


def lie_derivatives(
    function: Callable[[Tensor], Mapping[Key, Tensor]],
    images: Tensor,
    direction: Direction,
    grids: Mapping[Key, tuple[float, float]],
) -> dict[Key, Derivative]:
    """Compute Lie derivatives of functions of images, by forward-mode differentiation.

    L f(x) = d/dt f(T_t x) at t = 0 or, for maps that should move with the image,
    d/dt T_(-t) f(T_t x): 0 if f is invariant, or equivariant. T_t is the warp by exp(t G) in the
    convention of `Views`: one pixel to the right or down, one degree counter-clockwise, an
    enlargement by the factor e, one degree of shear or tilt per unit of t, about the image's
    centre. Images are interpolated by Catmull-Rom splines, so that the derivative of a shift is the
    central difference, and reflected at the border.

    After Gruver et al. (2022), 'The Lie Derivative for Measuring Learned Equivariance'; their code
    counts a shift in half images, and collapses an image that it stretches. A function with kinks
    has the derivative that torch defines there, as for a ReLU at 0.

    Args:
        function: Function from images (B, C, H, W) to outputs (B, ...) by key, with derivatives of
            torch alone: a model that routes needs the textbook backend.
        images: (B, C, H, W), of a floating-point type.
        direction: Direction of the movement.
        grids: (stride, offset) in pixels, as in `LayerOfInterest`, of the outputs (B, D, H', W')
            that are warped back, by key. Positions near their border have no such derivative: leave
            them out.

    Returns:
        Outputs and derivatives by key.

    Raises:
        NotMeasuredError: The function has no forward derivative.
    """
    generating = generating_matrix(direction, *images.shape[-2:])
    forward = generating.to(images.dtype).to(images.device)
    position_matrices = {key: position_matrix(*grid) for key, grid in grids.items()}
    backward = {
        key: (-torch.linalg.inv(to_pixels) @ generating @ to_pixels).to(forward)
        for key, to_pixels in position_matrices.items()
    }

    def outputs_at(t: Tensor) -> dict[Key, Tensor]:
        outputs = dict(function(catmull_rom_warp(images, torch.matrix_exp(t * forward)[None])))
        for key, matrix in backward.items():
            outputs[key] = catmull_rom_warp(outputs[key], torch.matrix_exp(t * matrix)[None])
        return outputs

    zero = images.new_zeros(())
    with unobserved(), warnings.catch_warnings():
        # At its first call, torch scripts its own decompositions in a way that it deprecates.
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        try:
            result: Any = torch.func.jvp(outputs_at, (zero,), (torch.ones_like(zero),))
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:  # such as of an operation in place on a buffer
            reason = str(error).partition("\n")[0]
            raise NotMeasuredError(
                f"an operation of the model has no forward derivative ({reason})"
            ) from None
    values, derivatives = result
    return {key: Derivative(value, derivatives[key]) for key, value in values.items()}


def generating_matrix(direction: Direction, height: int, width: int) -> Tensor:
    """Return G, (3, 3) float64: exp(t G) moves pixel coordinates by t units as `Views.matrices`.

    Tilts are no one-parameter group of homographies: exp(t G) is a tilt to first order in t.

    Args:
        direction: Direction of the movement.
        height: H in pixels.
        width: W in pixels.
    """
    result = torch.zeros(3, 3, dtype=torch.float64)
    if direction in ("shift_x", "shift_y"):
        result["xy".index(direction[-1]), 2] = 1
        return result
    if direction in ("tilt_x", "tilt_y"):
        # A point at y has moved away from the camera by y sin(t), whose derivative is y.
        result[2, "yx".index(direction[-1])] = DEGREE / camera_distance(height, width)
    else:
        # y points down, so that counter-clockwise on the screen turns x towards -y.
        linear = {
            "rotation": [[0, DEGREE], [-DEGREE, 0]],
            "scale": [[1, 0], [0, 1]],
            "shear": [[0, DEGREE], [0, 0]],
        }[direction]
        result[:2, :2] = result.new_tensor(linear)
    centre = result.new_tensor([[(width - 1) / 2, (height - 1) / 2]])
    return translations(centre)[0] @ result @ translations(-centre)[0]


def position_matrix(stride: float, offset: float) -> Tensor:
    """Return the matrix from positions of a map to pixels at their centres, (3, 3) float64."""
    return torch.tensor([[stride, 0, offset], [0, stride, offset], [0, 0, 1]], dtype=torch.float64)
