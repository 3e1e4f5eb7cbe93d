"""Declared transformations of the features of layers: ρ in f(T x) = ρ(T) f(x) (article, eq. 3).

T is a map of the plane that a view applies to an image, and f a layer. A representation assigns to
each T of some group a map ρ(T) of features with ρ(T₂) ρ(T₁) = ρ(T₂ T₁). Features are fields: D
numbers, the fibre, at each position. A representation therefore has two parts:

    [ρ(T) f](T p) = A(T) f(p)

Positions p move with the image or, in a layer without positions, there is a single one. A acts on
the D numbers of the fibre, the same at all positions (Cohen, Welling 2016, section 4.4; Weiler,
Cesa, 'General E(2)-Equivariant Steerable CNNs', 2019, section 2.2).

A representation is declared in `capsbench.contracts.LayerOfInterest`. The measure
``declared-equivariance`` tests it, and docs/representations.md explains it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from capsbench.errors import UserError, unknown
from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.grid import GridView

Basis = Literal["by construction", "claimed"]
Entry = tuple[int, int]  # row and column of a pose matrix

TOLERANCE = 1e-9  # of a value's distance from a multiple, and of a turn's from a quarter turn
WARPS = [name for name, factor in FACTORS.items() if factor.kind == "warp"]


@dataclass(frozen=True)
class DeclaredFactor:
    """Values of a factor of a view for which a transformation is declared.

    Attributes:
        factor: Name of a factor that moves the image.
        step: Distance of the values, which are multiples of it from the identity, in the factor's
            unit. None for any value.

    Raises:
        UserError: The factor is unknown or does not move the image, or the step is not positive.

    >>> DeclaredFactor("rotation", 90).contains(GridView("rotation", -270))
    True
    >>> str(DeclaredFactor("rotation", 90)), str(DeclaredFactor("scale"))
    ('rotation by multiples of 90°', 'any scale')
    """

    factor: str
    step: float | None = None

    def __post_init__(self) -> None:
        if self.factor not in FACTORS:
            raise unknown("factor", self.factor, WARPS)
        if self.factor not in WARPS:
            raise UserError(
                "transformations are declared for factors that move the image, "
                f"{', '.join(WARPS)}; got '{self.factor}'"
            )
        if self.step is not None and not self.step > 0:
            raise UserError(
                f"the values of a declared {self.factor} are multiples of a step above 0; got "
                f"{self.step:g}: leave it out for any value"
            )

    def contains(self, view: GridView) -> bool:
        """Check whether a view of one factor is among the values."""
        if view.factor != self.factor:
            return False
        if self.step is None:
            return True
        steps = (view.value - (FACTORS[self.factor].identity or 0.0)) / self.step
        return abs(steps - round(steps)) < TOLERANCE

    def __str__(self) -> str:
        """Return the values in words."""
        if self.step is None:
            return f"any {self.factor}"
        unit = FACTORS[self.factor].unit
        return f"{self.factor} by multiples of {self.step:g}{unit if unit == '°' else f' {unit}'}"


Declared = tuple[DeclaredFactor, ...]

QUARTER_TURNS: Declared = (DeclaredFactor("rotation", 90.0),)
SHIFTS: Declared = (DeclaredFactor("shift_x"), DeclaredFactor("shift_y"))
LINEAR: Declared = tuple(map(DeclaredFactor, ("rotation", "scale", "shear")))  # fix the centre
AFFINE: Declared = SHIFTS + LINEAR


def whole_strides(stride: float) -> Declared:
    """Return shifts that move positions of a map onto positions.

    Args:
        stride: Pixels from one position to the next.
    """
    return DeclaredFactor("shift_x", stride), DeclaredFactor("shift_y", stride)


@dataclass(frozen=True, kw_only=True)
class Representation(ABC):
    """Declared transformation ρ of the features of a layer, for some of the views.

    A subclass implements `apply`. Moved positions are not part of it: if ``moves_positions``, the
    features that it gets have already been moved.

    Attributes:
        moves_positions: True if positions move with the image, as those of a convolution do.
        numbers: D, consecutive channels of a map or numbers of a vector that form one fibre. Of
            poses it is the size of the pose.
        exact: Views for which f(T x) = ρ(T) f(x) holds by construction, for any weights. Of shifts,
            at positions that do not see the border of the image.
        claimed: Other views for which the design or its paper expects it, but only of a trained
            network.
        source: Source of the claim.

    Raises:
        UserError: Views are not a tuple of `DeclaredFactor`.
    """

    moves_positions: ClassVar[bool] = False
    numbers: ClassVar[int] = 1

    exact: Declared = ()
    claimed: Declared = ()
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("exact", "claimed"):
            views: object = getattr(self, name)
            if not isinstance(views, tuple) or not all(
                isinstance(each, DeclaredFactor) for each in views
            ):
                raise UserError(
                    f"{type(self).__name__}: {name} is a tuple of DeclaredFactor, such as "
                    f'(DeclaredFactor("rotation", 90),); got {views!r}'
                )

    @abstractmethod
    def apply(self, features: Tensor, matrix: Tensor) -> Tensor:
        """Return the features after A(T), the part of ρ(T) that acts on fibres.

        Args:
            features: (N, C, D, H, W), C fields of D numbers at H x W positions; 1 x 1 for a layer
                without positions.
            matrix: (3, 3) float64 on the CPU, T as a map of pixel coordinates (x, y, 1) of the
                image, x right and y down, the first pixel at 0.

        Returns:
            (N, C, D, H, W).

        Raises:
            ValueError: The representation is not defined for this T.
        """

    def basis(self, view: GridView) -> Basis | None:
        """Return the reason why a view's transformation is declared; None if it is not."""
        if any(each.contains(view) for each in self.exact):
            return "by construction"
        return "claimed" if any(each.contains(view) for each in self.claimed) else None

    def __str__(self) -> str:
        """Return the views in words, such as ``by construction: any shift_x; claimed: ...``."""
        views: dict[Basis, Declared] = {"by construction": self.exact, "claimed": self.claimed}
        texts = [f"{basis}: {', '.join(map(str, each))}" for basis, each in views.items() if each]
        return "; ".join(texts) or "for no view"


class Invariant(Representation):
    """Trivial representation, ρ(T) f = f (article, eq. 0)."""

    def apply(self, features: Tensor, matrix: Tensor) -> Tensor:
        """Return the features."""
        return features


class SpatialMap(Representation):
    """Map whose positions move with the image while the values stay, A(T) = 1."""

    moves_positions: ClassVar[bool] = True

    def apply(self, features: Tensor, matrix: Tensor) -> Tensor:
        """Return the features."""
        return features


class OrientationMap(Representation):
    """Map on the group p4, of shifts and quarter turns (Cohen, Welling 2016, section 4.4).

    Its positions move with the image. The D = 4 consecutive channels of a fibre are orientations:
    channel r is the response to a filter turned counter-clockwise by r quarter turns. If the image
    turns by k quarter turns, what filter r responded to is what filter r + k responds to, so that A
    permutes cyclically: channel r becomes channel r + k (mod 4).
    """

    moves_positions: ClassVar[bool] = True
    numbers: ClassVar[int] = 4

    def apply(self, features: Tensor, matrix: Tensor) -> Tensor:
        """Permute the orientations; raises ValueError if T does not turn by quarter turns."""
        return permute_orientations(features, quarter_turns(matrix), dim=2)


class PoseFrame(NamedTuple):
    """Coordinate frame of pose matrices in the plane of the image.

    The position of pixel (x, y) in the frame is ((x - x₀) / x_unit, (y - y₀) / y_unit).

    Attributes:
        unit: Pixels per unit of x and of y.
        origin: Pixel (x₀, y₀) at the origin.
        x: Entry of the pose that holds x, the position to the right.
        y: Entry of the pose that holds y, the position downwards.
    """

    unit: tuple[float, float]
    origin: tuple[float, float]
    x: Entry
    y: Entry

    def transform(self, matrix: Tensor) -> Tensor:
        """Return a map (3, 3) of pixel coordinates as a map of coordinates of the frame.

        Raises:
            ValueError: The map is not affine, such as that of a tilt.
        """
        if not torch.equal(matrix[2], matrix.new_tensor([0.0, 0.0, 1.0])):
            raise ValueError("poses in a frame of the plane are transformed by affine maps alone")
        (x_unit, y_unit), (x, y) = self.unit, self.origin
        pixels = matrix.new_tensor([[x_unit, 0.0, x], [0.0, y_unit, y], [0.0, 0.0, 1.0]])
        return torch.linalg.inv(pixels) @ matrix @ pixels


@dataclass(frozen=True, kw_only=True)
class MatrixPoses(Representation):
    """Pose matrices M (4 x 4) of a list of capsules that are multiplied from the left.

    ρ(T) M = L(T) M + τ(T): L multiplies the rows of x and y by the linear part of T, and leaves the
    other two rows as they are; τ adds the translation of T to the entries that hold the position.
    Both are in the coordinates of the frame. If both entries are in one column c, and the remaining
    row of homogeneous coordinates holds 1 in that column and else 0, this is A(T) M with the 4 x 4
    matrix A(T) of T in homogeneous coordinates. A network need not learn such a row; ρ is a
    representation for any M: L₂ (L₁ M + τ₁) + τ₂ = L(T₂ T₁) M + τ(T₂ T₁).

    Multiplication from the left is the one that votes follow: L (M W) = (L M) W for all weights W
    (article, eq. 5 and 6), and row i of a vote depends on row i of the pose alone. So a row has the
    same meaning in all layers of a network.

    Attributes:
        frame: Meaning of the rows, and entries of the position. If the entries are in different
            columns, only shifts can be declared, because L is not the linear part then.
    """

    frame: PoseFrame

    def __post_init__(self) -> None:
        super().__post_init__()
        declared = {each.factor for each in self.exact + self.claimed}
        linear = sorted(declared - {each.factor for each in SHIFTS})
        if linear and self.frame.x[1] != self.frame.y[1]:
            raise ValueError(
                f"poses are multiplied from the left if x and y are entries of one column; got "
                f"{self.frame.x} and {self.frame.y}: declare shifts alone, without "
                f"{', '.join(linear)}"
            )

    def apply(self, features: Tensor, matrix: Tensor) -> Tensor:
        """Return L(T) M + τ(T) of poses (N, C, 16, H, W), row by row."""
        transform = self.frame.transform(matrix)
        poses = self._multiply(features, transform).unflatten(2, (4, 4))
        for (row, column), shift in zip(
            (self.frame.x, self.frame.y), transform[:2, 2], strict=True
        ):
            poses[:, :, row, column] += shift.item()
        return poses.flatten(2, 3)

    def _multiply(self, features: Tensor, transform: Tensor) -> Tensor:
        """Return L(T) M, a new tensor."""
        if torch.allclose(transform[:2, :2], torch.eye(2).to(transform), rtol=0, atol=TOLERANCE):
            return features.clone()  # without rounding
        left = torch.eye(4, dtype=transform.dtype)
        rows = torch.tensor([self.frame.x[0], self.frame.y[0]])
        left[rows[:, None], rows] = transform[:2, :2]
        poses = features.unflatten(2, (4, 4))
        return torch.einsum("ij,ncjkhw->ncikhw", left.to(features), poses).flatten(2, 3)


@dataclass(frozen=True, kw_only=True)
class MatrixPoseMap(MatrixPoses):
    """Pose matrices at the positions of a map: ρ(T) M at T p is L(T) times M at p.

    A pose on a map is relative to its position. The positions carry the translation of T, and only
    its linear part multiplies the pose.
    """

    moves_positions: ClassVar[bool] = True

    def apply(self, features: Tensor, matrix: Tensor) -> Tensor:
        """Return L(T) M of poses (N, C, 16, H, W), row by row."""
        return self._multiply(features, self.frame.transform(matrix))


def permute_orientations(features: Tensor, turns: int, *, dim: int) -> Tensor:
    """Permute orientations as a rotation of the image by quarter turns does.

    Args:
        features: Features with 4 orientations in dimension ``dim``.
        turns: k, quarter turns counter-clockwise: orientation r becomes r + k (mod 4).
        dim: Dimension of the orientations.
    """
    return features.roll(turns, dims=dim)


def quarter_turns(matrix: Tensor) -> int:
    """Return the number of quarter turns, counter-clockwise on the screen, of a map (3, 3).

    Shifts are ignored.

    >>> quarter_turns(torch.tensor([[0.0, 1.0, 0.0], [-1.0, 0.0, 27.0], [0.0, 0.0, 1.0]]))
    1

    Raises:
        ValueError: The map does anything but turn by quarter turns and shift.
    """
    for turns, (cos, sin) in enumerate(((1, 0), (0, 1), (-1, 0), (0, -1))):
        # y points down: counter-clockwise turns x, the first column, towards -y.
        turn = matrix.new_tensor([[cos, sin], [-sin, cos]])
        plane = not matrix[2, :2].any()
        if plane and torch.allclose(matrix[:2, :2], turn, rtol=0, atol=TOLERANCE):
            return turns
    raise ValueError("orientations in quarter turns are permuted by quarter turns alone")
