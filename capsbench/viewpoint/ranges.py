"""Ranges of views to train in and grids of views to test on, as plain numbers (no torch)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Interval = tuple[float, float]
IDENTITY = {"rotation": 0.0, "shift_x": 0.0, "shift_y": 0.0, "scale": 1.0, "shear": 0.0}
UNITS = {"rotation": "°", "shift_x": "px", "shift_y": "px", "scale": "×", "shear": "°"}


class GridView(NamedTuple):
    """One view of a grid: a single factor at one value, every other factor at its identity."""

    factor: str
    value: float

    @property
    def key(self) -> str:
        """The view's stable name in records, such as ``rotation=90`` or ``scale=0.5``."""
        return f"{self.factor}={self.value:g}"


class ViewRange(BaseModel):
    """Uniform ranges from which views are drawn; a factor that is left out stays at its identity.

    ``shift`` draws x and y independently, ``scale`` draws one number for both axes.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: Interval = (0.0, 0.0)
    shift: Interval = (0.0, 0.0)
    scale: Interval = (1.0, 1.0)
    shear: Interval = (0.0, 0.0)

    @model_validator(mode="after")
    def _check(self) -> Self:
        for name, (low, high) in self:
            if not (math.isfinite(low) and math.isfinite(high) and low <= high):
                raise ValueError(f"{name} needs two finite numbers, the lower first")
        if self.scale[0] <= 0:
            raise ValueError("scale must be positive")
        if max(map(abs, self.shear)) >= 90:
            raise ValueError("shear must stay within -90 and 90 degrees")
        return self

    def interval(self, factor: str) -> Interval:
        """The range of one factor of a grid; ``shift_x`` and ``shift_y`` share ``shift``."""
        found: Interval = getattr(self, "shift" if factor.startswith("shift") else factor)
        return found

    def familiar(self, view: GridView) -> bool:
        """Whether a view lies inside the range (angles modulo 360 degrees).

        >>> ViewRange(rotation=(-15, 15)).familiar(GridView("rotation", 345))
        True
        """
        low, high = self.interval(view.factor)
        value = view.value
        if view.factor == "rotation":
            value = low + (value - low) % 360
        return low <= value <= high


class Sweep(BaseModel):
    """Evenly spaced values of one factor, both ends included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(allow_inf_nan=False)
    stop: float = Field(allow_inf_nan=False)
    step: Annotated[float, Field(gt=0, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stop < self.start:
            raise ValueError("stop must not lie below start")
        return self

    def values(self) -> list[float]:
        """The values, rounded to nine decimals so that 0.7 is 0.7.

        >>> Sweep(start=0.5, stop=0.8, step=0.1).values()
        [0.5, 0.6, 0.7, 0.8]
        """
        count = math.floor((self.stop - self.start) / self.step + 1e-9) + 1
        return [round(self.start + i * self.step, 9) for i in range(count)]


class ViewGrid(BaseModel):
    """Single-factor sweeps: the views on which accuracy is measured one by one."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: Sweep | None = None
    shift_x: Sweep | None = None
    shift_y: Sweep | None = None
    scale: Sweep | None = None
    shear: Sweep | None = None

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.factors():
            raise ValueError("a grid needs at least one factor")
        if self.scale is not None and self.scale.start <= 0:
            raise ValueError("scale must be positive")
        return self

    def factors(self) -> list[str]:
        """The factors that are swept, in the order of their definition."""
        return [name for name, sweep in self if sweep is not None]

    def __len__(self) -> int:
        return len(self.views())

    def views(self) -> list[GridView]:
        """Every view of the grid, factor by factor."""
        return list(self._views())

    def _views(self) -> Iterator[GridView]:
        for factor in self.factors():
            sweep: Sweep = getattr(self, factor)
            for value in sweep.values():
                yield GridView(factor, value)
