"""Ranges and choices from which a search draws the values of a recipe and of a model."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import ConfigDict, Field, model_validator

from capsbench.arguments import OneSentence, parameters
from capsbench.errors import UserError, unknown
from capsbench.strict import StrictModel

DIGITS = 3  # significant digits of drawn numbers, so that files can state them


class Range(StrictModel, metaclass=OneSentence):
    """Interval of numbers.

    Attributes:
        low: Smallest number.
        high: Largest number.
        scale: Scale on which all parts of the interval are equally likely.

    Raises:
        UserError: The interval is empty, or has a number on a logarithmic scale that is not above
            0.

    >>> Range(low=0.001, high=0.1).at(0.5), Range(low=0, high=0.5, scale="linear").at(0.5)
    (0.01, 0.25)
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    low: float
    high: float
    scale: Literal["log", "linear"] = "log"

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"expected low below high, got {self.low:g} and {self.high:g}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError(f"a logarithmic scale begins above 0, got low {self.low:g}")
        return self

    def at(self, share: float) -> float:
        """Return the number at a share of the interval in [0, 1), to three significant digits."""
        if self.scale == "log":
            low, high = math.log(self.low), math.log(self.high)
            value = math.exp(low + share * (high - low))
        else:
            value = self.low + share * (self.high - self.low)
        return min(max(float(f"{value:.{DIGITS}g}"), self.low), self.high)


Knob: TypeAlias = Range | Annotated[tuple[Any, ...], Field(min_length=1)]  # a range, or choices


def value_at(knob: Knob, share: float) -> Any:
    """Return the value of a knob at a share in [0, 1); each choice has an equal part.

    >>> [value_at((1, 2, (0.1, 1.0)), share) for share in (0.0, 0.5, 0.99)]
    [1, 2, [0.1, 1.0]]
    """
    if isinstance(knob, Range):
        return knob.at(share)
    return as_in_files(knob[int(share * len(knob))])


def checked_knobs(cls: type, knobs: Mapping[str, Knob], *, what: str) -> dict[str, Knob]:
    """Return the knobs of a model's class, if they fit its constructor.

    Args:
        cls: The class.
        knobs: Ranges and choices by the name of the argument.
        what: Description of the class for error messages, such as ``"model 'capsnet-em'"``.

    Raises:
        UserError: There is no mapping, a knob is no argument of the constructor, or it is neither a
            range nor choices.
    """
    if not isinstance(knobs, Mapping):
        raise UserError(f"knobs of {what}: expected ranges and choices by name, got {knobs!r}")
    known = parameters(cls)
    for name, knob in knobs.items():
        if name not in known:
            raise unknown(f"knob of {what}, no argument of its constructor:", name, known)
        if knob == () or not isinstance(knob, Range | tuple):
            raise UserError(
                f"knob '{name}' of {what}: expected a Range or a tuple of choices, got {knob!r}"
            )
    return dict(knobs)


def as_in_files(value: Any) -> Any:
    """Return a value or a knob as YAML has it: lists for tuples, a mapping for a range."""
    match value:
        case Range():
            return value.model_dump()
        case list() | tuple():
            return [as_in_files(each) for each in value]
    return value
