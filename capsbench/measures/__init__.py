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


class AccuracyByView(BaseModel):
    """Accuracy on every test image at every view of a grid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Literal["accuracy-by-view"]
    grid: ViewGrid

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views that the data must be able to show."""
        return list(self.grid.views())

    @property
    def module(self) -> str:
        """The module whose function ``measure`` computes it."""
        return "capsbench.measures.accuracy_by_view"

    @property
    def steps(self) -> int:
        """How often ``measure`` tells a progress bar to advance."""
        return len(self.grid)


class AccuracyBySplit(BaseModel):
    """Accuracy on whole splits, and on the test images at views of named ranges.

    Attributes:
        splits: ``familiar`` and ``novel`` images, as the data set and the views of training say.
        ranges: Ranges of views by a name of their own, such as ``outside``: each test image is seen
            from one view of the range, the same for every model.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Literal["accuracy-by-split"]
    splits: tuple[Literal["familiar", "novel"], ...] = ("familiar",)
    ranges: dict[Name, ViewRange] = Field(default_factory=dict)

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views that the data must be able to show."""
        return list(self.ranges.values())

    @model_validator(mode="after")
    def _check(self) -> Self:
        if twice := set(self.splits) & self.ranges.keys():
            raise ValueError(f"a range cannot have the name of a split: {', '.join(twice)}")
        return self

    @property
    def module(self) -> str:
        """The module whose function ``measure`` computes it."""
        return "capsbench.measures.accuracy_by_split"

    @property
    def steps(self) -> int:
        """How often ``measure`` tells a progress bar to advance."""
        return len(self.splits) + len(self.ranges)


class AveragedAccuracy(BaseModel):
    """Accuracy of the mean of what a model says of several crops of each familiar test image.

    Attributes:
        shifts: Pixels, x and y, by which the image is moved before its middle is shown. The
            default is the centre and the twelve crops about it of Hinton et al. (2018): 1, 2 and 3
            pixels off along the diagonals, as the authors' code has them.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Literal["averaged-accuracy"]
    shifts: tuple[tuple[float, float], ...] = Field(
        default=((0, 0), *((i * a, j * a) for a in (1, 2, 3) for i in (-1, 1) for j in (-1, 1))),
        min_length=1,
    )

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views that the data must be able to show."""
        return []

    @property
    def module(self) -> str:
        """The module whose function ``measure`` computes it."""
        return "capsbench.measures.averaged_accuracy"

    @property
    def steps(self) -> int:
        """How often ``measure`` tells a progress bar to advance."""
        return len(self.shifts)


class RenderingError(BaseModel):
    """Error of every test image as a model draws it from views taken at random from ranges.

    Attributes:
        views: Ranges of views by a name of their own, such as ``shift``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Literal["rendering-error"]
    views: dict[Name, ViewRange] = Field(min_length=1)

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views that the data must be able to show."""
        return list(self.views.values())

    @property
    def module(self) -> str:
        """The module whose function ``measure`` computes it."""
        return "capsbench.measures.rendering"

    @property
    def steps(self) -> int:
        """How often ``measure`` tells a progress bar to advance."""
        return len(self.views)


MeasureEntry = Annotated[
    AccuracyByView | AccuracyBySplit | AveragedAccuracy | RenderingError,
    Field(discriminator="measure"),
]
