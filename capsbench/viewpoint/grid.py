"""Grids of single-factor views, as plain numbers (no torch)."""

from __future__ import annotations

from typing import NamedTuple, Self

from pydantic import model_validator

from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.limits import BOUNDED, require_visible
from capsbench.viewpoint.part import Part, Window
from capsbench.viewpoint.sparse import SparseModel
from capsbench.viewpoint.spread import Sweep


class GridView(NamedTuple):
    """View of a grid: a single factor at one value.

    A warp or a photometric factor is applied with all other applied factors at their identity. A
    recorded factor selects the images that were recorded at the value, and does not change them.
    Recorded factors that the view does not specify follow training.

    Attributes:
        factor: Name of the factor.
        value: Value of the factor.
        part: Part that the view moves; None for the whole image.
    """

    factor: str
    value: float
    part: Part = None

    @property
    def components(self) -> tuple[GridView]:
        """The view itself, the only factor that is changed."""
        return (self,)

    @property
    def key(self) -> str:
        """Stable name in records, such as ``rotation=90`` or ``scale=0.5``."""
        # Adding 0.0 turns -0.0 into 0.0.
        return f"{self.factor}={repr(float(self.value) + 0.0).removesuffix('.0')}"

    @property
    def change_key(self) -> str:
        """Stable name of the view as a change, ``azimuth+20`` for a recorded factor.

        A warp starts from the identity, so that its change has the name of the view. For a recorded
        factor the value is a difference between two recordings; the sign marks it as such.
        """
        if not self.recorded:
            return self.key
        sign = "" if self.value < 0 else "+"
        return f"{self.factor}{sign}{repr(float(self.value)).removesuffix('.0')}"

    @property
    def period(self) -> float | None:
        """Period of the factor; None if it is not cyclic."""
        return FACTORS[self.factor].period

    @property
    def recorded(self) -> bool:
        """True if the view selects images instead of changing them."""
        return FACTORS[self.factor].kind == "recorded"

    @property
    def is_identity(self) -> bool:
        """True if the view is the identity of its factor, also after full turns."""
        identity = FACTORS[self.factor].identity
        if identity is None:
            return False
        offset = self.value - identity
        return offset == 0 if self.period is None else offset % self.period == 0


class Sweeps(SparseModel):
    """Sweeps of factors; a grid is a set of views that is made of them.

    Attributes:
        part: Part that the views move: the object of the data set's mask, or a window at a fixed
            position. None for the whole image.
    """

    rotation: Sweep | None = None
    shift_x: Sweep | None = None
    shift_y: Sweep | None = None
    scale: Sweep | None = None
    shear: Sweep | None = None
    tilt_x: Sweep | None = None
    tilt_y: Sweep | None = None
    brightness: Sweep | None = None
    contrast: Sweep | None = None
    azimuth: Sweep | None = None
    elevation: Sweep | None = None
    lighting: Sweep | None = None
    distance: Sweep | None = None
    instance: Sweep | None = None
    part: Part = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.factors():
            raise ValueError("a grid needs at least one factor")
        for factor in set(BOUNDED) & set(self.factors()):
            sweep: Sweep = getattr(self, factor)
            limits = {factor: (sweep.start, sweep.stop)}
            require_visible(**limits)
        if self.contrast and self.contrast.start < 0:
            raise ValueError("contrast must not be below 0")
        if isinstance(self.part, Window) and None in (self.part.x.constant, self.part.y.constant):
            raise ValueError("the window of a grid has a fixed position: give x and y as numbers")
        return self

    def factors(self) -> list[str]:
        """Return the names of the swept factors, in the order of their definition."""
        return [name for name, sweep in self if isinstance(sweep, Sweep)]

    def values(self) -> dict[str, list[float]]:
        """Return the values of each swept factor."""
        return {name: sweep.values() for name, sweep in self if isinstance(sweep, Sweep)}


class ViewGrid(Sweeps):
    """Views of single factors, one sweep after the other."""

    def __len__(self) -> int:
        return len(self.views())

    def views(self) -> list[GridView]:
        """Return every view of the grid, factor by factor."""
        return [
            GridView(factor, value, self.part)
            for factor, values in self.values().items()
            for value in values
        ]
