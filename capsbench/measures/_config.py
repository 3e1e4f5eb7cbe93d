"""Base classes of the arguments of measures."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from math import inf
from typing import Annotated, Literal, Self

from pydantic import ConfigDict, Field, model_validator

from capsbench.strict import StrictModel
from capsbench.viewpoint.factors import FACTORS, RECORDED
from capsbench.viewpoint.grid import GridView, ViewGrid
from capsbench.viewpoint.joint import SweptView
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread

# Full ranges of the recorded factors whose values may be changes.
FULL_RANGES = {"azimuth": (0.0, 360.0), "elevation": (-90.0, 90.0)}

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9 -]*$")]
TestSplit = Literal["familiar", "novel", "rearranged"]


class MeasureConfig(StrictModel):
    """Arguments of a measure, as a benchmark file gives them.

    Attributes:
        measure: Name of the measure.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    measure: str

    @property
    def required_views(self) -> Sequence[SweptView | ViewRange]:
        """Views for which the data must have test images."""
        return []

    @property
    def required_splits(self) -> tuple[TestSplit, ...]:
        """Splits that the data must have."""
        return ()

    @property
    def source_models(self) -> tuple[str, ...]:
        """Labels of other models whose trained weights the measure uses."""
        return ()

    def for_model(self, label: str) -> Self:
        """Return this config for one model: the model itself is removed from the sources."""
        return self

    @property
    @abstractmethod
    def num_progress_steps(self) -> int:
        """Number of steps that the progress bar counts."""


class GridMeasureConfig(MeasureConfig):
    """Arguments of a measure that visits the views of a grid one by one.

    Attributes:
        grid: The views.
    """

    grid: ViewGrid

    @property
    def required_views(self) -> list[GridView | ViewRange]:
        """The views of the grid."""
        return list(self.grid.views())

    @property
    def num_progress_steps(self) -> int:
        """One step per view."""
        return len(self.grid)


class LayerMeasureConfig(GridMeasureConfig):
    """Arguments of a measure that compares the outputs of layers for images and for their views.

    Attributes:
        grid: The views. Values of azimuth and elevation are changes: each test image is compared
            with the image of the same object turned by that much, all else being equal.
        layers: Names of layers: those that the model declares, any module by its dotted path,
            ``pixels`` and ``probabilities``. Default: all that the model declares and these two.
        images: Largest number of test images, the same for every model.
    """

    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    images: int = Field(default=500, ge=2)

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        changed = [name for name in self.grid.factors() if name in FULL_RANGES]
        refuse_recorded(self.measure, [n for n in self.grid.factors() if n not in changed])
        for view in self.grid.views():
            if view.factor in changed and view.value % (view.period or inf) == 0:
                raise ValueError(
                    f"{self.measure} compares images between which {view.factor} changes: leave "
                    f"{view.factor} {view.value:g} out"
                )
        require_distinct("layers", self.layers or ())
        return self

    @property
    def required_views(self) -> list[GridView | ViewRange]:
        """Views that transform an image; of recorded factors, only that they are recorded."""
        views = self.grid.views()
        recorded = {view.factor for view in views if view.recorded}
        anywhere = {name: Spread(intervals=(FULL_RANGES[name],)) for name in sorted(recorded)}
        ranges = [ViewRange().model_copy(update={name: at}) for name, at in anywhere.items()]
        return [*(view for view in views if not view.recorded), *ranges]


class WarpMeasureConfig(LayerMeasureConfig):
    """Arguments of a measure that moves the maps of layers as views move the image.

    Attributes:
        grid: The views: warps of the whole image.
        margin: Pixels at the border of the image; positions of maps there are left out, before and
            after the warp. Half a receptive field, if it reaches beyond the border.
    """

    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_warps(self) -> Self:
        if others := [name for name in self.grid.factors() if FACTORS[name].kind != "warp"]:
            raise ValueError(
                f"{self.measure} moves maps, which {', '.join(others)} cannot do: sweep "
                "rotation, shift, scale, shear or tilt"
            )
        if self.grid.part is not None:
            raise ValueError(f"{self.measure} moves the whole image: leave grid.part out")
        return self


def refuse_recorded(measure: str, factors: list[str]) -> None:
    """Refuse recorded factors in a measure that transforms every image itself.

    Raises:
        ValueError: There is a recorded factor; pydantic shows the message.
    """
    if recorded := [name for name in factors if name in RECORDED]:
        raise ValueError(
            f"{measure} transforms every image itself; other views of {', '.join(recorded)} are "
            "other images"
        )


def require_distinct(what: str, values: Sequence[object]) -> None:
    """Refuse a list with equal values.

    Raises:
        ValueError: Two of the values are equal; pydantic shows the message.
    """
    if len(set(values)) < len(values):
        raise ValueError(f"{what} must be different; got {', '.join(map(str, values))}")
