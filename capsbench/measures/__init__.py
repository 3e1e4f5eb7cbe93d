"""Measures: what a trained model's behaviour under a change of viewpoint amounts to, in numbers.

This module is free of torch, so that a benchmark file can be checked without it: it holds each
measure's arguments. What computes a measure stands in the module of the same name.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from capsbench.viewpoint.ranges import ViewGrid, ViewRange

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9 -]*$")]


class AccuracyByView(BaseModel):
    """Accuracy on every test image at every view of a grid."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Literal["accuracy-by-view"]
    grid: ViewGrid

    @property
    def module(self) -> str:
        """The module whose function ``measure`` computes it."""
        return "capsbench.measures.accuracy_by_view"

    @property
    def steps(self) -> int:
        """How often ``measure`` tells a progress bar to advance."""
        return len(self.grid)


class RenderingError(BaseModel):
    """Error of every test image as a model draws it from views taken at random from ranges.

    Attributes:
        views: Ranges of views by a name of their own, such as ``shift``.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    measure: Literal["rendering-error"]
    views: dict[Name, ViewRange] = Field(min_length=1)

    @property
    def module(self) -> str:
        """The module whose function ``measure`` computes it."""
        return "capsbench.measures.rendering"

    @property
    def steps(self) -> int:
        """How often ``measure`` tells a progress bar to advance."""
        return len(self.views)


MeasureEntry = Annotated[AccuracyByView | RenderingError, Field(discriminator="measure")]
