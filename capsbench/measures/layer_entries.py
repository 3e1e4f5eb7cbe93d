"""The arguments of measures of what goes on inside a model (no torch)."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import Field, model_validator

from capsbench.measures._config import (
    Entry,
    LayerEntry,
    TestSplit,
    require_different,
)
from capsbench.viewpoint.factors import FACTORS, RECORDED, range_field
from capsbench.viewpoint.grid import GridView, ViewGrid
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread, Sweep

Direction = Literal["shift_x", "shift_y", "rotation", "scale", "shear"]
ReadFactor = Literal[
    "rotation",
    "shift_x",
    "shift_y",
    "scale",
    "shear",
    "brightness",
    "contrast",
    "azimuth",
    "elevation",
    "distance",
]
ANYWHERE = {"azimuth": (0.0, 360.0), "elevation": (-90.0, 90.0), "distance": (0.0, 1e9)}


class LinearEquivariance(LayerEntry):
    """How much of the change of features under views an affine map explains, class by class.

    After Lenc & Vedaldi (2015), for eq. 3 of the article, with its controls, and the group law of
    the maps; see `capsbench.measures._affine_equivariance`.

    Attributes:
        grid: The views; quarter turns if left out.
        width: Principal components in which features are compared, the same for all layers. It
            needs ten images of each class for each of them, beside the third that is held out:
            width 10 and ten classes need about 1,700. Layers with fewer numbers are left out.
    """

    measure: Literal["linear-equivariance"]
    grid: ViewGrid = ViewGrid(rotation=Sweep(start=-90, stop=180, step=90))
    images: int = Field(default=2000, ge=2)
    width: int = Field(default=10, ge=1)

    @model_validator(mode="after")
    def _check_moves(self) -> Self:
        if all(view.is_identity for view in self.grid.views()):
            raise ValueError("linear-equivariance needs a view that changes anything")
        return self


class PoseReadout(Entry):
    """How well each layer tells the view of a test image, by ridge regression.

    Attributes:
        factors: What is read out. A warp or a change of light has to vary in ``views``; azimuth,
            elevation and distance are told by the recording.
        views: From where each image is seen, a view of its own; recorded factors restrict the
            images, which are the familiar ones if left out.
        layers: The model's layers by name; all that it names, the pose of the true class, pixels
            and probabilities if left out.
        images: How many test images are asked at the most; half of them are held out.
        width: Principal components by which every layer is read.
        within_class: Fit to each class apart as well, and average R2 over classes: a capsule has
            coordinates of its own.
        poolings: Read what goes into each max-pooling and what comes out as well: the article says
            that max-pooling discards where its largest value was.
    """

    measure: Literal["pose-readout"]
    factors: tuple[ReadFactor, ...] = Field(min_length=1)
    views: ViewRange = ViewRange()
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    images: int = Field(default=2000, ge=20)
    width: int = Field(default=16, ge=1)
    within_class: bool = False
    poolings: bool = False

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_different("factors", self.factors)
        require_different("layers", self.layers or ())
        for factor in self.factors:
            spread = self.views.spread(factor)
            known = factor in RECORDED if spread is None else spread.constant is None
            if not known:
                raise ValueError(
                    f"there is no {factor} to read out: let views.{range_field(factor)} vary"
                )
        return self

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The range of views, with all that is to be recorded."""
        anywhere = {name: Spread(intervals=(ends,)) for name, ends in ANYWHERE.items()}
        missing = [name for name in self.factors if self.views.spread(name) is None]
        return [self.views.model_copy(update={name: anywhere[name] for name in missing})]

    @property
    def steps(self) -> int:
        """One for looking at the images, one for all fits."""
        return 2
