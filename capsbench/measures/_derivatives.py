"""Lie derivative: how fast what a network says changes as its image begins to move."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torchmetrics import Metric

from capsbench.capsules.backends import routing_backend
from capsbench.contracts import Model
from capsbench.measures import Direction
from capsbench.measures._catmull_rom import catmull_rom_warp
from capsbench.profiling.evaluation_mode import evaluation_mode

# What t counts: the derivative is per pixel, and so on.
UNITS: dict[Direction, str] = {
    "shift_x": "pixel",
    "shift_y": "pixel",
    "rotation": "degree",
    "scale": "unit of log scale",
    "shear": "degree",
}
DEGREE = math.pi / 180
ROUNDING = 1e-6  # fp32: images that differ by no more than this share of f(x) do not differ


class Derivative(NamedTuple):
    """A function of B images, and its derivative as they move.

    Attributes:
        value: (B, ...) f(x).
        derivative: (B, ...) L f(x), per unit of `UNITS`.
    """

    value: Tensor
    derivative: Tensor


def lie_derivative(
    function: Callable[[Tensor], Tensor],
    images: Tensor,
    direction: Direction,
    grid: tuple[float, float] | None = None,
) -> Derivative:
    """The Lie derivative of a function of images, by forward-mode differentiation at the identity.

    L f(x) = d/dt f(T_t x) at t = 0 and, where the function returns maps that should move along,
    d/dt T_(-t) f(T_t x): 0 where f is invariant, equivariant. T_t is the warp by exp(t G), with the
    convention of `Views`: one pixel to the right or down, one degree counter-clockwise, an
    enlargement by the factor e, one degree of shear per unit of t, about the image's centre. Images
    are interpolated by Catmull-Rom splines, so that the derivative of a shift is the central
    difference, and reflected at the border.

    After Gruver et al. (2022), 'The Lie Derivative for Measuring Learned Equivariance';
    their code counts a shift in half images, and collapses an image that it stretches. A function
    with kinks has the derivative that torch gives it there, as for a ReLU at 0.

    Args:
        function: From images (B, C, H, W) to (B, ...), with derivatives of torch alone: a model
            that routes has to take the textbook backend.
        images: (B, C, H, W), a floating-point type.
        direction: How they move.
        grid: (stride, offset) in pixels of the maps (B, D, H', W') that the function returns, as in
            `LayerOfInterest`: they are moved back. Near the border they cannot be what they were:
            leave those places out. None where the output stays as it is.
    """
    grids = {} if grid is None else {"": grid}
    return lie_derivatives(lambda seen: {"": function(seen)}, images, direction, grids)[""]


def lie_derivatives(
    function: Callable[[Tensor], Mapping[str, Tensor]],
    images: Tensor,
    direction: Direction,
    grids: Mapping[str, tuple[float, float]],
) -> dict[str, Derivative]:
    """The Lie derivatives of several functions of images, by one differentiation.

    Args:
        function: From images (B, C, H, W) to what each function returns, by name.
        images: (B, C, H, W), a floating-point type.
        direction: How they move.
        grids: (stride, offset) of the maps that are moved back, by name, see `lie_derivative`.
    """
    generating = generating_matrix(direction, *images.shape[-2:])
    there = generating.to(images.dtype).to(images.device)
    places = {name: place_matrix(*grid) for name, grid in grids.items()}
    back = {
        name: (-torch.linalg.inv(place) @ generating @ place).to(there)
        for name, place in places.items()
    }

    def moved(t: Tensor) -> dict[str, Tensor]:
        outputs = dict(function(catmull_rom_warp(images, torch.matrix_exp(t * there)[None])))
        for name, matrix in back.items():
            outputs[name] = catmull_rom_warp(outputs[name], torch.matrix_exp(t * matrix)[None])
        return outputs

    identity = images.new_zeros(())
    with warnings.catch_warnings():
        # At its first call torch scripts decompositions of its own, in a way that it deprecates.
        warnings.filterwarnings("ignore", "`torch.jit.script` is deprecated", FutureWarning)
        found: Any = torch.func.jvp(moved, (identity,), (torch.ones_like(identity),))
    values, changes = found
    return {name: Derivative(value, changes[name]) for name, value in values.items()}


@torch.no_grad()
def class_derivative(model: Model, images: Tensor, direction: Direction) -> Derivative:
    """The Lie derivative of a model's probabilities of the classes, end to end.

    Args:
        model: The model.
        images: (B, C, H, W) in [0, 1].
        direction: How they move.

    Returns:
        Probabilities (B, K) and their derivatives (B, K).
    """
    with evaluation_mode(model), routing_backend(model, "textbook"):
        return lie_derivative(
            lambda seen: model.log_probabilities(model(seen)).exp(), images, direction
        )


def generating_matrix(direction: Direction, height: int, width: int) -> Tensor:
    """(3, 3) float64, G: exp(t G) moves pixel coordinates by t units, as `Views.matrices` does.

    Args:
        direction: How images move.
        height: H in pixels.
        width: W in pixels.
    """
    result = torch.zeros(3, 3, dtype=torch.float64)
    if direction in ("shift_x", "shift_y"):
        result["xy".index(direction[-1]), 2] = 1
        return result
    # y points down, so that counter-clockwise on the screen turns x towards -y.
    linear = {
        "rotation": [[0, DEGREE], [-DEGREE, 0]],
        "scale": [[1, 0], [0, 1]],
        "shear": [[0, DEGREE], [0, 0]],
    }[direction]
    result[:2, :2] = result.new_tensor(linear)
    result[:2, 2] = -result[:2, :2] @ result.new_tensor([(width - 1) / 2, (height - 1) / 2])
    return result


def place_matrix(stride: float, offset: float) -> Tensor:
    """(3, 3) float64, from the places of a map to the pixels of the image at their centres."""
    return torch.tensor([[stride, 0, offset], [0, stride, offset], [0, 0, 1]], dtype=torch.float64)


class MeanLieDerivative(Metric):
    """What Lie derivatives amount to, over all batches and processes.

    ``absolute``: E mean_c |L f_c(x)|, over the numbers that f returns (Gruver's code, end to end);
    ``squared``: E |L f(x)|^2, their sum of squares (the paper's; it divides by their number);
    ``relative``: sqrt(E |L f(x)|^2 / E |f(x) - f(x')|^2) over distinct images x, x', a share of
    the distance between images, by which layers and networks can be compared. It is undefined, NaN,
    where f is constant or there are fewer than two images; the others are so without an image.

    Args:
        shape: Of f(x) for one image, such as (K,).
        kwargs: As for every metric of torchmetrics.
    """

    full_state_update = False
    is_differentiable = False
    higher_is_better = False
    absolute: Tensor
    squared: Tensor
    first: Tensor
    second: Tensor
    total: Tensor

    def __init__(self, shape: Sequence[int], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        zero = torch.zeros((), dtype=torch.float64)
        for name in ("absolute", "squared", "second"):
            self.add_state(name, zero.clone(), dist_reduce_fx="sum")
        self.add_state("first", zero.new_zeros(*shape), dist_reduce_fx="sum")
        self.add_state("total", torch.zeros((), dtype=torch.long), dist_reduce_fx="sum")

    def update(self, found: Derivative) -> None:
        """Add a batch."""
        value, derivative = found.value.double(), found.derivative.double()
        self.absolute += derivative.abs().flatten(1).mean(dim=1).sum()
        self.squared += derivative.square().sum()
        self.first += value.sum(dim=0)
        self.second += value.square().sum()
        self.total += len(value)

    def compute(self) -> dict[str, Tensor]:
        """The values by name, float64 scalars."""
        n = self.total.double()
        # E |f(x) - f(x')|^2 over distinct pairs, from the moments.
        distance = 2 * (self.second - self.first.square().sum() / n) / (n - 1)
        distance = distance.where(distance > ROUNDING**2 * self.second / n, math.nan)
        return {
            "absolute": self.absolute / n,
            "squared": self.squared / n,
            "relative": (self.squared / n / distance).sqrt(),
        }

    def plot(
        self, val: dict[str, Tensor] | Sequence[dict[str, Tensor]] | None = None, ax: Any = None
    ) -> Any:
        """Draw values that `compute` returned, by default those of now."""
        return self._plot(val, ax)
