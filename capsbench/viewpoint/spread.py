"""Values of one factor: intervals or single values, as plain numbers (no torch)."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Annotated, Any, Literal, Self

from pydantic import (
    ConfigDict,
    Field,
    model_serializer,
    model_validator,
)

from capsbench.strict import StrictModel

Interval = tuple[float, float]
Region = Literal["familiar", "between", "outside"]
MAX_VALUES = 10_000  # of a sweep
TOLERANCE = 1e-9  # far below any visible change, far above the rounding of sums
FORMS = (
    "[low, high], a number, {start, stop, step}, {values: [...]} or {intervals: [[low, high], ...]}"
)


class Sweep(StrictModel):
    """Evenly spaced values of one factor, both ends included."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    start: float = Field(allow_inf_nan=False)
    stop: float = Field(allow_inf_nan=False)
    step: Annotated[float, Field(ge=1e-6, allow_inf_nan=False)]

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.stop < self.start:
            raise ValueError("stop must not be below start")
        if (self.stop - self.start) / self.step >= MAX_VALUES:
            raise ValueError(f"a sweep has at most {MAX_VALUES:,} values: make step larger")
        return self

    def values(self) -> list[float]:
        """Return the values, rounded to nine decimals, so that 0.7 stays 0.7.

        >>> Sweep(start=0.5, stop=0.8, step=0.1).values()
        [0.5, 0.6, 0.7, 0.8]
        """
        count = math.floor((self.stop - self.start) / self.step + 1e-9) + 1
        return [round(self.start + i * self.step, 9) + 0.0 for i in range(count)]  # no -0.0


class Spread(StrictModel):
    """Uniform distribution of a factor over a union of intervals, or over single values.

    Written as ``[low, high]``, as a number, as a sweep ``{start, stop, step}`` (whole pixels, every
    30 degrees), as ``{values: [...]}`` or as ``{intervals: [[low, high], ...]}``.

    Attributes:
        intervals: Disjoint intervals (low, high), both ends included, in rising order.
        values: Single values in the order of the input; empty if there are intervals.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    intervals: tuple[Interval, ...] = ()
    values: tuple[float, ...] = ()

    @model_validator(mode="before")
    @classmethod
    def _parse(cls, form: Any) -> Any:
        if isinstance(form, int | float) and not isinstance(form, bool):
            return {"values": (form,)}
        if isinstance(form, list | tuple):
            if len(form) != 2:
                raise ValueError(f"expected {FORMS}")
            constant = form[0] == form[1]
            return {"values": (form[0],)} if constant else {"intervals": (tuple(form),)}
        if isinstance(form, dict) and "step" in form:
            return {"values": tuple(Sweep.model_validate(form).values())}
        if not isinstance(form, dict | Spread):
            raise ValueError(f"expected {FORMS}")
        return form

    @model_validator(mode="after")
    def _check(self) -> Self:
        if bool(self.intervals) == bool(self.values):
            raise ValueError(f"expected one of {FORMS}")
        if any(low >= high for low, high in self.intervals):
            raise ValueError("an interval needs two numbers, the lower one first")
        if any(first[1] >= second[0] for first, second in pairwise(self.intervals)):
            raise ValueError("intervals must be disjoint and in rising order")
        if len(set(self.values)) < len(self.values):
            raise ValueError("values must differ")
        return self

    @model_serializer
    def _shortest(self) -> Any:
        if len(self.values) == 1:
            return self.values[0]
        if self.values:
            return {"values": list(self.values)}
        if len(self.intervals) == 1:
            return list(self.intervals[0])
        return {"intervals": [list(pair) for pair in self.intervals]}

    def __str__(self) -> str:
        """Return the values in words.

        >>> str(Spread(values=(0, 20))), str(Spread(intervals=((-60, -30), (30, 60))))
        ('0, 20', '-60 to -30, 30 to 60')
        """
        if self.values:
            return ", ".join(f"{value:g}" for value in self.values)
        return ", ".join(f"{low:g} to {high:g}" for low, high in self.intervals)

    @property
    def limits(self) -> Interval:
        """Lowest and highest value."""
        if self.values:
            return min(self.values), max(self.values)
        return self.intervals[0][0], self.intervals[-1][1]

    @property
    def segments(self) -> tuple[Interval, ...]:
        """Intervals in rising order; a single value is an interval of length 0."""
        return self.intervals or tuple((value, value) for value in sorted(self.values))

    @property
    def constant(self) -> float | None:
        """The only value; None if there are several."""
        low, high = self.limits
        return low if low == high else None

    def contains(self, value: float, period: float | None = None) -> bool:
        """Return whether a value is among these, ends included, within `TOLERANCE`.

        Args:
            value: Value of the factor.
            period: Period of the factor, such as 360 degrees; None if it is not cyclic.
        """
        return any(_inside(value, segment, period) for segment in self.segments)

    def region(self, value: float, period: float | None = None) -> Region:
        """Classify a value as one of these, as between them or as outside of them.

        For a cyclic factor the widest gap is the outside. If no gap is wider than all others, as
        for an evenly sampled turn, no value is outside.

        >>> Spread.model_validate({"values": [0, 30, 60]}).region(45, period=360)
        'between'
        >>> Spread.model_validate({"values": [0, 30, 60]}).region(200, period=360)
        'outside'

        Args:
            value: Value of the factor.
            period: Period of the factor; None if it is not cyclic.
        """
        if self.contains(value, period):
            return "familiar"
        if period is None:
            low, high = self.limits
            return "between" if low < value < high else "outside"
        gaps = _gaps(self.segments, period)
        widths = sorted(high - low for low, high in gaps)
        if len(widths) > 1 and widths[-1] - widths[-2] <= TOLERANCE:
            return "between"
        widest = max(gaps, key=lambda gap: gap[1] - gap[0])
        return "outside" if _inside(value, widest, period) else "between"


ZERO = Spread(values=(0.0,))
ONE = Spread(values=(1.0,))


def _inside(value: float, segment: Interval, period: float | None) -> bool:
    low, high = segment
    above = value - low + TOLERANCE
    if period is not None:
        above %= period
    return 0 <= above <= high - low + 2 * TOLERANCE


def _gaps(segments: tuple[Interval, ...], period: float) -> list[Interval]:
    """Return the gaps between intervals of a cyclic factor."""
    shifted = sorted((low % period, low % period + high - low) for low, high in segments)
    starts = [low for low, _ in shifted[1:]] + [shifted[0][0] + period]
    ends = [high for _, high in shifted]
    return [
        (end, start) for end, start in zip(ends, starts, strict=True) if start - end > TOLERANCE
    ]
