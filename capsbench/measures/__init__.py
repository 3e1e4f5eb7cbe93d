"""Measures: what a trained model's behaviour under a change of viewpoint amounts to, in numbers.

This module is free of torch, so that a benchmark file can be checked without it: it holds each
measure's arguments. What computes a measure stands in the module of the same name.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from capsbench.viewpoint.factors import FACTORS, RECORDED, field_of
from capsbench.viewpoint.grid import GridView, ViewGrid
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread, Sweep

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9 -]*$")]
TestSplit = Literal["familiar", "novel", "rearranged"]
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
AttackMethod = Literal["fgsm", "bim", "pgd"]
Direction = Literal["shift_x", "shift_y", "rotation", "scale", "shear"]


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
    def steps(self) -> int:
        """How often ``measure`` tells a progress bar to advance."""
        raise NotImplementedError


class LayerEntry(Entry):
    """The arguments of a measure of what layers put out, for images and for views of them.

    Attributes:
        grid: The views; none recorded, as each image itself is moved.
        layers: Layers by name: those that the model names, its modules by their dotted path,
            ``pixels`` and ``probabilities``. If left out, all that the model names and these two.
        images: How many test images at the most, the same for every model.
    """

    grid: ViewGrid
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    images: int = Field(default=500, ge=2)

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views of the grid."""
        return list(self.grid.views())

    @property
    def steps(self) -> int:
        """One for each view."""
        return len(self.grid)

    @model_validator(mode="after")
    def _check_layers(self) -> Self:
        _refuse_recorded(self.measure, self.grid.factors())
        require_different("layers", self.layers or ())
        return self


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
        require_different("splits", self.splits)
        if not (self.splits or self.ranges):
            raise ValueError("name a split or a range of views")
        if twice := set(self.splits) & self.ranges.keys():
            raise ValueError(f"a range cannot have the name of a split: {', '.join(twice)}")
        return self

    @property
    def steps(self) -> int:
        """One for each split and range."""
        return len(self.splits) + len(self.ranges)


class Attacks(Entry):
    """Accuracy on familiar test images that were changed a little so that the model errs.

    White box: an attack climbs the gradient of the model that is judged. A model whose gradients
    vanish looks robust; the share of images without a gradient stands beside.

    Attributes:
        epsilons: How far each pixel may be changed, in units of the whole range from black to
            white, which is 1.
        methods: ``fgsm``, one step (Goodfellow et al. 2015); ``bim``, several (Kurakin et al.
            2017); ``pgd``, several from a random start (Madry et al. 2018).
        targeted: Whether each image is also led to a class: a wrong one, drawn for each image.
        iterations: Steps of ``bim`` and ``pgd``, of 2.5 epsilon together (Madry et al. 2018).
        images: How many images at the most, the classes in near-equal numbers.
    """

    measure: Literal["attacks"]
    epsilons: tuple[Annotated[float, Field(ge=0, le=1)], ...] = Field(
        default=(0.01, 0.03, 0.1, 0.3), min_length=1
    )
    methods: tuple[AttackMethod, ...] = Field(default=("fgsm", "bim"), min_length=1)
    targeted: bool = False
    iterations: int = Field(default=10, ge=1)
    images: int = Field(default=100, ge=1)

    @property
    def tested(self) -> tuple[TestSplit, ...]:
        """The familiar images."""
        return ("familiar",)

    @property
    def steps(self) -> int:
        """One for the unchanged images, then one for each epsilon of each attack."""
        return 1 + len(self.epsilons) * len(self.methods) * (1 + self.targeted)

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_different("epsilons", self.epsilons)
        require_different("methods", self.methods)
        return self


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


class Calibration(Entry):
    """Whether probabilities and presences mean what they say; whether presence means agreement.

    Attributes:
        splits: Which test images; all of them are asked.
        bins: Number of bins of confidence, equally wide (15 in Guo et al. 2017).
    """

    measure: Literal["calibration"]
    splits: tuple[TestSplit, ...] = Field(default=("familiar",), min_length=1)
    bins: int = Field(default=15, ge=1, le=1000)

    @property
    def tested(self) -> tuple[TestSplit, ...]:
        """The splits."""
        return self.splits

    @property
    def steps(self) -> int:
        """One for each split."""
        return len(self.splits)


class Consistency(Entry):
    """Whether a model says the same of an image and of the image from each view of a grid.

    One pixel's shift (Azulay & Weiss 2019) is a grid such as
    ``shift_x: {start: -1, stop: 1, step: 1}``.

    Attributes:
        grid: Views of warps and of light. A recorded view has other images, and nothing to compare.
        images: How many familiar test images are asked at the most.
    """

    measure: Literal["consistency"]
    grid: ViewGrid
    images: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_recorded(self.measure, self.grid.factors())
        return self

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The views of the grid."""
        return list(self.grid.views())

    @property
    def steps(self) -> int:
        """One for each view."""
        return len(self.grid)


class Cost(Entry):
    """Parameters, operations, and the speed and memory of the device that measures.

    Attributes:
        batch: Images that are classified together when speed and memory are measured, at the most.
        repeats: How many batches are timed, after two that are not; the median counts.
    """

    measure: Literal["cost"]
    batch: int = Field(default=100, ge=1)
    repeats: int = Field(default=5, ge=1)

    @property
    def tested(self) -> tuple[TestSplit, ...]:
        """The familiar images."""
        return ("familiar",)

    @property
    def steps(self) -> int:
        """One for what is counted, one for classifying, one for training."""
        return 3


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

    It is divided by how far apart images are; see `capsbench.measures.invariance`.
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
    the maps; see `capsbench.measures.affine_equivariance`.

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
    """

    measure: Literal["pose-readout"]
    factors: tuple[ReadFactor, ...] = Field(min_length=1)
    views: ViewRange = ViewRange()
    layers: tuple[str, ...] | None = Field(default=None, min_length=1)
    images: int = Field(default=2000, ge=20)
    width: int = Field(default=16, ge=1)
    within_class: bool = False

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


class SpatialEquivariance(LayerEntry):
    """Spatial equivariance error of layers (article, eq. 3): whether maps move as images do.

    See `capsbench.measures.moved_maps`.

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


class WorstOfK(Entry):
    """Accuracy from the worst of k views of each test image (Engstrom et al. 2019, section 3).

    Attributes:
        views: Where views are drawn from, for each image its own.
        k: How many.
        images: How many familiar test images are asked at the most.
    """

    measure: Literal["worst-of-k"]
    views: ViewRange
    k: int = Field(default=10, ge=1, le=1000)
    images: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        _refuse_recorded(self.measure, list(self.views.recorded))
        if not self.views.moves:
            raise ValueError("views of worst-of-k move or change no image: let a factor vary")
        return self

    @property
    def asked(self) -> list[GridView | ViewRange]:
        """The range of views."""
        return [self.views]

    @property
    def steps(self) -> int:
        """One for each draw."""
        return self.k


def _refuse_recorded(measure: str, factors: list[str]) -> None:
    """Refuse recorded factors where each image is to be seen from several views.

    Raises:
        ValueError: There is one; pydantic shows the message.
    """
    if recorded := [name for name in factors if name in RECORDED]:
        raise ValueError(
            f"{measure} moves every image itself; other views of {', '.join(recorded)} are other "
            "images"
        )


MeasureEntry = Annotated[
    AccuracyByView
    | AccuracyBySplit
    | Attacks
    | AveragedAccuracy
    | Calibration
    | Consistency
    | Cost
    | Filters
    | InvarianceError
    | LieDerivative
    | LinearEquivariance
    | PoseReadout
    | RenderingError
    | SpatialEquivariance
    | WorstOfK,
    Field(discriminator="measure"),
]


def require_different(what: str, values: Sequence[object]) -> None:
    """Refuse a list that names something twice; pydantic shows the message.

    Raises:
        ValueError: Two of the values are equal.
    """
    if len(set(values)) < len(values):
        raise ValueError(f"each of the {what} stands once; got {', '.join(map(str, values))}")
