"""Grids of views: those on which accuracy is measured one by one, as plain numbers (no torch)."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Self

from pydantic import BaseModel, ConfigDict, model_validator

from capsbench.viewpoint.factors import FACTORS
from capsbench.viewpoint.part import Part, Window
from capsbench.viewpoint.spread import Sweep

SMALLEST_SCALE = 0.01


class GridView(NamedTuple):
    """One view of a grid: a single factor at one value.

    A warp or a photometric factor is changed alone, all others of these at their identity; a
    recorded factor selects the images that were taken so, which are changed in nothing. Recorded
    factors of which the view says nothing are as in training.

    Attributes:
        factor: The factor's name.
        value: Its value.
        part: What moves; the whole image if left out.
    """

    factor: str
    value: float
    part: Part = None

    @property
    def key(self) -> str:
        """The view's stable name in records, such as ``rotation=90`` or ``scale=0.5``."""
        # Adding 0.0 turns -0.0 into 0.0.
        return f"{self.factor}={repr(float(self.value) + 0.0).removesuffix('.0')}"

    @property
    def change_key(self) -> str:
        """The name of what is seen from it beside where an image was: ``azimuth+20``.

        A warp moves the image itself, whose place is the identity; of a recorded factor the value
        is a change, which is not to be taken for a place.
        """
        if not self.recorded:
            return self.key
        sign = "" if self.value < 0 else "+"
        return f"{self.factor}{sign}{repr(float(self.value)).removesuffix('.0')}"

    @property
    def period(self) -> float | None:
        """After which the factor's values repeat."""
        return FACTORS[self.factor].period

    @property
    def recorded(self) -> bool:
        """Whether the view selects images instead of changing them."""
        return FACTORS[self.factor].kind == "recorded"

    @property
    def is_identity(self) -> bool:
        """Whether the view is the identity of its factor, also after whole turns."""
        identity = FACTORS[self.factor].identity
        if identity is None:
            return False
        off = self.value - identity
        return off == 0 if self.period is None else off % self.period == 0


class ViewGrid(BaseModel):
    """Single-factor sweeps: the views on which accuracy is measured one by one.

    Attributes:
        part: What moves: the whole image if left out, the object that a mask shows, or a window
            that stands in one place.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    rotation: Sweep | None = None
    shift_x: Sweep | None = None
    shift_y: Sweep | None = None
    scale: Sweep | None = None
    shear: Sweep | None = None
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
        scale, shear = self.scale, self.shear
        require_invertible(
            scale.start if scale else 1.0, *((shear.start, shear.stop) if shear else ())
        )
        if self.contrast and self.contrast.start < 0:
            raise ValueError("contrast must not lie below 0")
        if isinstance(self.part, Window) and None in (self.part.x.constant, self.part.y.constant):
            raise ValueError("the window of a grid stands in one place: give x and y as numbers")
        return self

    def factors(self) -> list[str]:
        """The factors that are swept, in the order of their definition."""
        return [name for name, sweep in self if isinstance(sweep, Sweep)]

    def __len__(self) -> int:
        return len(self.views())

    def views(self) -> list[GridView]:
        """Every view of the grid, factor by factor."""
        return list(self._views())

    def _views(self) -> Iterator[GridView]:
        for factor in self.factors():
            sweep: Sweep = getattr(self, factor)
            for value in sweep.values():
                yield GridView(factor, value, self.part)


def require_invertible(scale: float, *shears: float) -> None:
    """Refuse warps from which there is no way back; pydantic shows the message.

    Raises:
        ValueError: A scale near 0, or a shear of 90 degrees or more.
    """
    if scale < SMALLEST_SCALE:
        raise ValueError(f"scale must not lie below {SMALLEST_SCALE}")
    if any(abs(shear) >= 90 for shear in shears):
        raise ValueError("shear must stay between -90 and 90 degrees")
