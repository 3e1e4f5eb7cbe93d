"""What the arguments of every measure have in common (no torch)."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import inf
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from capsbench.viewpoint.factors import RECORDED
from capsbench.viewpoint.grid import GridView, ViewGrid
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread

CHANGED = {"azimuth": (0.0, 360.0), "elevation": (-90.0, 90.0)}  # all of their values

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9 -]*$")]
TestSplit = Literal["familiar", "novel", "rearranged"]


class Entry(BaseModel):
    """The arguments of a measure, as a benchmark file gives them."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

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
    def needs(self) -> tuple[str, ...]:
        """Labels of models whose trained networks it looks at too."""
        return ()

    def of(self, label: str) -> Self:
        """The measure as it is taken of a model, which is no other one to itself."""
        return self

    @property
    @abstractmethod
    def steps(self) -> int:
        """How often ``measure`` tells a progress bar to advance."""


class GridEntry(Entry):
    """The arguments of a measure that goes through the views of a grid, one by one."""

    grid: ViewGrid

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views of the grid."""
        return list(self.grid.views())

    @property
    def steps(self) -> int:
        """One for each view."""
        return len(self.grid)


class LayerEntry(GridEntry):
    """The arguments of a measure of what layers put out, for images and for views of them.

    Attributes:
        grid: The views. Of azimuth and elevation the values are changes: each test image is
            compared with that of the same object turned further by so much, all else being equal.
        layers: Layers by name: those that the model names, its modules by their dotted path,
            ``pixels`` and ``probabilities``. If left out, all that the model names and these two.
        images: How many test images at the most, the same for every model.
    """

    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    images: int = Field(default=500, ge=2)

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        changed = [name for name in self.grid.factors() if name in CHANGED]
        refuse_recorded(self.measure, [n for n in self.grid.factors() if n not in changed])
        for view in self.grid.views():
            if view.factor in changed and view.value % (view.period or inf) == 0:
                raise ValueError(
                    f"{self.measure} compares images between which {view.factor} changes: leave "
                    f"{view.factor} {view.value:g} out"
                )
        require_different("layers", self.layers or ())
        return self

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views that move or change an image; of the others, that they are recorded at all."""
        views = self.grid.views()
        recorded = {view.factor for view in views if view.recorded}
        anywhere = {name: Spread(intervals=(CHANGED[name],)) for name in sorted(recorded)}
        ranges = [ViewRange().model_copy(update={name: at}) for name, at in anywhere.items()]
        return [*(view for view in views if not view.recorded), *ranges]


def refuse_recorded(measure: str, factors: list[str]) -> None:
    """Refuse recorded factors where each image is to be seen from several views.

    Raises:
        ValueError: There is one; pydantic shows the message.
    """
    if recorded := [name for name in factors if name in RECORDED]:
        raise ValueError(
            f"{measure} moves every image itself; other views of {', '.join(recorded)} are other "
            "images"
        )


def require_different(what: str, values: Sequence[object]) -> None:
    """Refuse a list that names something twice; pydantic shows the message.

    Raises:
        ValueError: Two of the values are equal.
    """
    if len(set(values)) < len(values):
        raise ValueError(f"each of the {what} stands once; got {', '.join(map(str, values))}")
