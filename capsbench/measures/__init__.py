"""Measures: what a trained model's behaviour under a change of viewpoint amounts to, in numbers.

This module is free of torch, so that a benchmark file can be checked without it: it holds each
measure's arguments. What computes a measure stands in the module of the same name.
"""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from capsbench.viewpoint.grid import GridView, ViewGrid
from capsbench.viewpoint.ranges import ViewRange

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9 -]*$")]
TestSplit = Literal["familiar", "novel", "rearranged"]


class Entry(BaseModel):
    """The arguments of a measure, as a benchmark file gives them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: str

    @property
    def module(self) -> str:
        """The module whose function ``measure`` computes it."""
        return f"capsbench.measures.{self.measure.replace('-', '_')}"

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views from which the data must be able to show test images."""
        return []

    @property
    def tested(self) -> tuple[TestSplit, ...]:
        """The splits that the data must have."""
        return ()

    @property
    def steps(self) -> int:
        """How often ``measure`` tells a progress bar to advance."""
        raise NotImplementedError


class AccuracyByView(Entry):
    """Accuracy on every test image at every view of a grid."""

    measure: Literal["accuracy-by-view"]
    grid: ViewGrid

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views of the grid."""
        return list(self.grid.views())

    @property
    def steps(self) -> int:
        """One for each view."""
        return len(self.grid)


class AccuracyBySplit(Entry):
    """Accuracy on whole splits, and on the test images at views of named ranges.

    Attributes:
        splits: ``familiar`` and ``novel`` images, as the data set and the views of training say;
            ``rearranged`` ones, with the objects' parts out of relation (the Picasso test).
        ranges: Ranges of views by a name of their own, such as ``outside``: each test image is seen
            from one view of the range, the same for every model.
    """

    measure: Literal["accuracy-by-split"]
    splits: tuple[TestSplit, ...] = ("familiar",)
    ranges: dict[Name, ViewRange] = Field(default_factory=dict)

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The ranges."""
        return list(self.ranges.values())

    @property
    def tested(self) -> tuple[TestSplit, ...]:
        """The splits."""
        return self.splits

    @model_validator(mode="after")
    def _check(self) -> Self:
        if twice := set(self.splits) & self.ranges.keys():
            raise ValueError(f"a range cannot have the name of a split: {', '.join(twice)}")
        return self

    @property
    def steps(self) -> int:
        """One for each split and range."""
        return len(self.splits) + len(self.ranges)


class AveragedAccuracy(Entry):
    """Accuracy of the mean of what a model says of several crops of each test image.

    Attributes:
        splits: Which test images.
        shifts: Pixels, x and y, by which the image is moved before its middle is shown. The
            default is the centre and the twelve crops about it of Hinton et al. (2018): 1, 2 and 3
            pixels off along the diagonals, as the authors' code has them.
    """

    measure: Literal["averaged-accuracy"]
    splits: tuple[TestSplit, ...] = Field(default=("familiar",), min_length=1)
    shifts: tuple[tuple[float, float], ...] = Field(
        default=((0, 0), *((i * a, j * a) for a in (1, 2, 3) for i in (-1, 1) for j in (-1, 1))),
        min_length=1,
    )

    @property
    def tested(self) -> tuple[TestSplit, ...]:
        """The splits."""
        return self.splits

    @property
    def steps(self) -> int:
        """One for each crop of each split."""
        return len(self.splits) * len(self.shifts)


class RenderingError(Entry):
    """Error of every test image as a model draws it from views taken at random from ranges.

    Attributes:
        views: Ranges of views by a name of their own, such as ``shift``.
    """

    measure: Literal["rendering-error"]
    views: dict[Name, ViewRange] = Field(min_length=1)

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The ranges."""
        return list(self.views.values())

    @property
    def steps(self) -> int:
        """One for each range."""
        return len(self.views)


MeasureEntry = Annotated[
    AccuracyByView | AccuracyBySplit | AveragedAccuracy | RenderingError,
    Field(discriminator="measure"),
]
