"""Grids of joint views, in which two factors are changed at once, as plain numbers (no torch)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import Self

from pydantic import model_validator

from capsbench.viewpoint.grid import GridView, Sweeps
from capsbench.viewpoint.limits import BOUNDED, require_visible
from capsbench.viewpoint.part import Part


@dataclass(frozen=True)
class JointView:
    """View of a joint grid: two factors, each at one value.

    Both are applied to the image, or select images, as those of a `GridView`. All other applied
    factors are at their identity, and all other recorded factors follow training.

    Attributes:
        components: The view of each factor; both have the same part.

    Raises:
        ValueError: The components have the same factor, or move different parts.
    """

    components: tuple[GridView, GridView]

    def __post_init__(self) -> None:
        first, second = self.components
        if first.factor == second.factor or first.part != second.part:
            raise ValueError(
                "a joint view needs two different factors of the same part; got "
                f"{first.factor} and {second.factor} of {first.part} and {second.part}"
            )

    @property
    def part(self) -> Part:
        """Part that the view moves; None for the whole image."""
        return self.components[0].part

    @property
    def key(self) -> str:
        """Stable name in records, such as ``rotation=90,scale=0.5``."""
        return ",".join(component.key for component in self.components)


SweptView = GridView | JointView


class JointGrid(Sweeps):
    """Views of two factors: every value of the first one with every value of the second one."""

    @model_validator(mode="after")
    def _check_both(self) -> Self:
        values = self.values()
        if len(values) != 2:
            raise ValueError(
                "a joint grid needs exactly two factors, such as rotation and scale; "
                f"got {', '.join(values)}"
            )
        limits = {name: (values[name][0], values[name][-1]) for name in BOUNDED if name in values}
        require_visible(**limits)
        return self

    @property
    def shape(self) -> tuple[int, int]:
        """Number of values of the first and of the second factor."""
        first, second = (len(values) for values in self.values().values())
        return first, second

    def __len__(self) -> int:
        first, second = self.shape
        return first * second

    def views(self) -> list[JointView]:
        """Return every view of the grid; the second factor varies faster."""
        first, second = (
            [GridView(factor, value, self.part) for value in values]
            for factor, values in self.values().items()
        )
        return [JointView(components) for components in product(first, second)]
