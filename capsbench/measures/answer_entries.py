"""The arguments of measures of what a model answers (no torch)."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from capsbench.measures._config import (
    Entry,
    GridEntry,
    Name,
    TestSplit,
    refuse_recorded,
    require_different,
)
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange

AttackMethod = Literal["fgsm", "bim", "pgd"]


class AccuracyByView(GridEntry):
    """Accuracy on every test image at every view of a grid."""

    measure: Literal["accuracy-by-view"]


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
    vanish looks robust; the share of images without a gradient stands beside. Transferred: the
    images were attacked on another model.

    Attributes:
        sources: Labels of models of the benchmark from which attacks are transferred, trained with
            the same seed. That a model is among its own sources adds nothing.
        epsilons: How far each pixel may be changed, in units of the whole range from black to
            white, which is 1.
        methods: ``fgsm``, one step (Goodfellow et al. 2015); ``bim``, several (Kurakin et al.
            2017); ``pgd``, several from a random start (Madry et al. 2018).
        targeted: Whether each image is also led to a class: a wrong one, drawn for each image.
        iterations: Steps of ``bim`` and ``pgd``, of 2.5 epsilon together (Madry et al. 2018).
        images: How many images at the most, the classes in near-equal numbers.
    """

    measure: Literal["attacks"]
    sources: tuple[str, ...] = ()
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
    def needs(self) -> tuple[str, ...]:
        """The sources."""
        return self.sources

    def of(self, label: str) -> Self:
        """Without the model itself among the sources."""
        others = tuple(source for source in self.sources if source != label)
        return self.model_copy(update={"sources": others})

    @property
    def steps(self) -> int:
        """One for the unchanged images, then one for each epsilon of each attack."""
        attacks = len(self.methods) * (1 + self.targeted) * (1 + len(self.sources))
        return 1 + len(self.epsilons) * attacks

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_different("epsilons", self.epsilons)
        require_different("methods", self.methods)
        require_different("sources", self.sources)
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


class Consistency(GridEntry):
    """Whether a model says the same of an image and of the image from each view of a grid.

    One pixel's shift (Azulay & Weiss 2019) is a grid such as
    ``shift_x: {start: -1, stop: 1, step: 1}``.

    Attributes:
        grid: Views of warps and of light. A recorded view has other images, and nothing to compare.
        images: How many familiar test images are asked at the most.
    """

    measure: Literal["consistency"]
    images: int = Field(default=1000, ge=1)

    @model_validator(mode="after")
    def _check(self) -> Self:
        refuse_recorded(self.measure, self.grid.factors())
        return self


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


class PartWhole(Entry):
    """What is lost where the parts of objects stand in each other's places (the Picasso test)."""

    measure: Literal["part-whole"]

    @property
    def tested(self) -> tuple[TestSplit, ...]:
        """The objects with their parts out of relation."""
        return ("rearranged",)

    @property
    def steps(self) -> int:
        """One for the objects as they are, one for the others."""
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
        refuse_recorded(self.measure, list(self.views.recorded))
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
