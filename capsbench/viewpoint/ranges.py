"""Ranges of views to train in and grids of views to test on, as plain numbers (no torch)."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Annotated, NamedTuple, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

Interval = tuple[float, float]
IDENTITY = {"rotation": 0.0, "shift_x": 0.0, "shift_y": 0.0, "scale": 1.0, "shear": 0.0}
SMALLEST_SCALE = 0.01
TOLERANCE = 1e-9  # far below what a view can show, far above the rounding of sums
UNITS = {"rotation": "°", "shift_x": "px", "shift_y": "px", "scale": "×", "shear": "°"}


class GridView(NamedTuple):
    """One view of a grid: a single factor at one value, every other factor at its identity."""

    factor: str
    value: float

    @property
    def key(self) -> str:
        """The view's stable name in records, such as ``rotation=90`` or ``scale=0.5``."""
        # Adding 0.0 turns -0.0 into 0.0.
        return f"{self.factor}={repr(float(self.value) + 0.0).removesuffix('.0')}"


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
        _require_invertible(self.scale[0], *self.shear)
        return self

    def interval(self, factor: str) -> Interval:
        """The range of one factor of a grid; ``shift_x`` and ``shift_y`` share ``shift``."""
        found: Interval = getattr(self, "shift" if factor.startswith("shift") else factor)
        return found

    def familiar(self, view: GridView) -> bool:
        """Whether a view lies inside the range, ends included (angles modulo 360 degrees).

        >>> ViewRange(rotation=(-15, 15)).familiar(GridView("rotation", 345))
        True
        """
        low, high = self.interval(view.factor)
        above = view.value - low + TOLERANCE
        if view.factor == "rotation":
            above %= 360
        return 0 <= above <= high - low + 2 * TOLERANCE


class Sweep(BaseModel):
    """Evenly spaced values of one factor, both ends included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(allow_inf_nan=False)
    stop: float = Field(allow_inf_nan=False)
    step: Annotated[float, Field(ge=1e-6, allow_inf_nan=False)]

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
        return [round(self.start + i * self.step, 9) + 0.0 for i in range(count)]  # no -0.0


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
        scale, shear = self.scale, self.shear
        _require_invertible(
            scale.start if scale else 1.0, *((shear.start, shear.stop) if shear else ())
        )
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


def _require_invertible(scale: float, *shears: float) -> None:
    if scale < SMALLEST_SCALE:
        raise ValueError(f"scale must not lie below {SMALLEST_SCALE}")
    if any(abs(shear) >= 90 for shear in shears):
        raise ValueError("shear must stay between -90 and 90 degrees")
