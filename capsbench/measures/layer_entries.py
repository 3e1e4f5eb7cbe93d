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
from capsbench.viewpoint.factors import FACTORS, RECORDED, field_of
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


class Filters(Entry):
    """The share of the first convolution's filters that are turned copies of others.

    Attributes:
        layer: Dotted path of a convolution within the model; the first one that sees the image if
            left out.
        null: What random filters keep of the true ones: their spectrum (``phases``), or no more
            than their weights (``pixels``).
        sets: How many sets of random filters.
    """

    measure: Literal["filters"]
    layer: str | None = None
    null: Literal["phases", "pixels"] = "phases"
    sets: int = Field(default=20, ge=1)

    @property
    def steps(self) -> int:
        """One."""
        return 1


class InvarianceError(LayerEntry):
    """Invariance error of layers (article, eq. 0): how far a view moves features.

    It is divided by how far apart images are; see `capsbench.measures._invariance`.
    """

    measure: Literal["invariance-error"]


class LieDerivative(Entry):
    """How fast what a model says changes as its image begins to move.

    Source: Gruver et al. (2022), 'The Lie Derivative for Measuring Learned Equivariance'.

    Attributes:
        directions: How images move: ``shift_x`` and ``shift_y`` (per pixel), ``rotation`` and
            ``shear`` (per degree), ``scale`` (per unit of log scale).
        layers: Names of layers; all that the model names if left out.
        images: How many images at the most, the classes in near-equal numbers.
    """

    measure: Literal["lie-derivative"]
    directions: tuple[Direction, ...] = Field(
        default=("shift_x", "shift_y", "rotation", "scale", "shear"), min_length=1
    )
    layers: tuple[str, ...] | None = None
    images: int = Field(default=50, ge=2)

    @property
    def tested(self) -> tuple[TestSplit, ...]:
        """The familiar images."""
        return ("familiar",)

    @property
    def steps(self) -> int:
        """One for each direction."""
        return len(self.directions)

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_different("directions", self.directions)
        require_different("layers", self.layers or ())
        return self


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
                    f"there is no {factor} to read out: let views.{field_of(factor)} vary"
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


class SpatialEquivariance(LayerEntry):
    """Spatial equivariance error of layers (article, eq. 3): whether maps move as images do.

    See `capsbench.measures._warped_maps`.

    Attributes:
        grid: The views: warps of the whole image.
        margin: Pixels at the border of the image about which places of maps are left out, before
            and after they move: half of a receptive field, where it reaches beyond the border.
    """

    measure: Literal["spatial-equivariance"]
    margin: float = Field(default=0.0, ge=0, allow_inf_nan=False)

    @model_validator(mode="after")
    def _check_warps(self) -> Self:
        if others := [name for name in self.grid.factors() if FACTORS[name].kind != "warp"]:
            raise ValueError(
                f"spatial-equivariance moves maps, which {', '.join(others)} cannot do: sweep "
                "rotation, shift, scale or shear"
            )
        if self.grid.part is not None:
            raise ValueError("spatial-equivariance moves the whole image: leave grid.part out")
        return self
