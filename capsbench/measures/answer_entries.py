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
        batch_size: Images that are classified together when speed and memory are measured, at the most.
        repeats: How many batches are timed, after two that are not; the median counts.
    """

    measure: Literal["cost"]
    batch_size: int = Field(default=100, ge=1)
    repeats: int = Field(default=5, ge=1)

    @property
    def tested(self) -> tuple[TestSplit, ...]:
        """The familiar images."""
        return ("familiar",)

    @property
    def steps(self) -> int:
        """One for what is counted, one for classifying, one for training."""
        return 3


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
