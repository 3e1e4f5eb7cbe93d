"""Sets whose views were recorded, and their division into training, validation and test."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from capsbench.contracts import ImageShape
from capsbench.data.batches import Split, SplitName
from capsbench.data.images import ImageDataModule
from capsbench.data.splits import hold_out_per_class, recorded_within
from capsbench.errors import UserError
from capsbench.viewpoint.spread import Spread

VALIDATION_SHARE = 0.1  # where no instance can be held out
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Recording:
    """All images of a set, each with its recorded view.

    Attributes:
        images: The images; ``factors`` holds their views.
        official_test: (N,) bool, the set's own test images; None if it has none.
    """

    images: Split
    official_test: Tensor | None = None


class RecordedData(ImageDataModule):
    """Images of objects whose views were recorded, so that a view selects images.

    Images inside of ``views.azimuth``, ``views.elevation`` and so on are familiar. The test images
    are the set's own. If it has none, they are those of ``test_instances``. If none are named, they
    are all images that are not familiar and a share of those that are. The other familiar images
    are for training. Validation holds some of them out: whole instances if each class has several,
    else some images of each class.

    Args:
        validation_instances: Instances of each class for validation; the last one of each class
            that is not for the test if left out.
        test_instances: Instances of each class for the test, if the set has no test images of its
            own.
        familiar_test_share: Share of the familiar images that are kept for the test, if the set has
            no official test images and there are no ``test_instances``.
        kwargs: See `ImageDataModule`.
    """

    def __init__(
        self,
        *,
        validation_instances: tuple[int, ...] | None = None,
        test_instances: tuple[int, ...] | None = None,
        familiar_test_share: Share = 0.2,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.validation_instances = validation_instances
        self.test_instances = test_instances
        self.familiar_test_share = familiar_test_share
        self._new_test_instances = False  # true if training and test share no instance

    @abstractmethod
    def read(self) -> Recording:
        """Read all images of the set.

        Raises:
            UserError: A file is missing or damaged.
        """

    def load(self) -> dict[SplitName, Split]:
        """Read the images and divide them."""
        recording = self.read()
        images = recording.images
        self.require_valid("images", images)
        official = recording.official_test
        if official is not None and (official.dtype, len(official)) != (torch.bool, len(images)):
            raise UserError(
                f"the official test images of {self._name}: expected {len(images)} times true or "
                f"false, got {len(official)} of {str(official.dtype).removeprefix('torch.')}"
            )
        familiar = recorded_within(images, self.views.recorded)
        if not familiar.any():
            views = "; ".join(f"{name} {spread}" for name, spread in self.views.recorded.items())
            raise UserError(f"{self._name} has no image with {views}")
        test = self._test(recording, familiar)
        available = (familiar & ~test).nonzero()[:, 0]
        self._require_all_classes("train", images.targets[available])
        if not test.any():
            raise UserError(
                f"{self._name} has no image to test on: all are familiar and trained on; restrict "
                "the views, or give test_instances or a familiar_test_share above 0"
            )
        held = self._validation(images[available])
        train, validation = available[~held], available[held]
        for name, rows in (("train", train), ("test", test.nonzero()[:, 0])):
            self._require_all_classes(name, images.targets[rows])
        instances = images.factors.get("instance")
        self._new_test_instances = instances is not None and not bool(
            torch.isin(instances[available], instances[test]).any()
        )
        return {"train": images[train], "validation": images[validation], "test": images[test]}

    @property
    def familiar_factors(self) -> dict[str, Spread]:
        """The recorded factors, with their values, that make a test image familiar.

        If test and training share no instance, the instance is left out: else no test image would
        be familiar.
        """
        factors = self.views.recorded
        if self._new_test_instances:
            factors.pop("instance", None)
        return factors

    @property
    def _name(self) -> str:
        return self.identity.name

    def _test(self, recording: Recording, familiar: Tensor) -> Tensor:
        """Return (N,) bool, the test images."""
        images = recording.images
        if recording.official_test is not None:
            if self.test_instances is not None:
                raise UserError(f"{self._name} has official test images: leave test_instances out")
            return recording.official_test
        if self.test_instances is not None:
            return self._instances("test_instances", images, self.test_instances)
        rows = familiar.nonzero()[:, 0]
        share = self.familiar_test_share
        _, held = hold_out_per_class(images.targets[rows], share, self._name, "test")
        test = ~familiar
        test[rows[held]] = True
        return test

    def _validation(self, images: Split) -> Tensor:
        """Return (N,) bool, the images that are held out of those available for training."""
        if self.validation_instances is not None:
            held = self._instances("validation_instances", images, self.validation_instances)
            self._require_all_classes("validation", images.targets[held])
            return held
        if "instance" in images.factors:
            first, last = _ends_of_each(images.factors["instance"], images.targets)
            if (first < last).all():
                return images.factors["instance"] == last
        held = torch.zeros(len(images), dtype=torch.bool)
        names = (self._name, "validation")
        held[hold_out_per_class(images.targets, VALIDATION_SHARE, *names)[1]] = True
        return held

    def _instances(self, argument: str, images: Split, numbers: Sequence[int]) -> Tensor:
        """Return (N,) bool, the images of some instances."""
        if "instance" not in images.factors:
            raise UserError(f"{self._name} does not record instances: leave {argument} out")
        instances = images.factors["instance"]
        known = sorted({int(number) for number in instances.tolist()})
        if not numbers or not set(numbers) <= set(known):
            raise UserError(f"{argument} of {self._name} are among {known}; got {list(numbers)}")
        return torch.isin(instances, instances.new_tensor(list(numbers)))

    def _require_all_classes(self, split: str, targets: Tensor) -> None:
        """Refuse a split in which a class has no image."""
        counts = torch.bincount(targets, minlength=self.num_classes)
        if missing := (counts == 0).nonzero()[:, 0].tolist():
            names = ", ".join(self.class_names[label] for label in missing)
            raise UserError(
                f"{self._name} would have no {split} image of {names}: restrict the views less, "
                "or keep fewer instances or images from training"
            )


def _ends_of_each(numbers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return (N,) and (N,), the lowest and the highest number of each image's class."""
    ends = (
        numbers.new_zeros(int(targets.max()) + 1).scatter_reduce(
            0, targets, numbers, end, include_self=False
        )[targets]
        for end in ("amin", "amax")
    )
    lowest, highest = ends
    return lowest, highest


def cropped_shape(shape: ImageShape, crop: int | None, name: str) -> ImageShape:
    """Return the shape of images that are cropped to a square in their middle.

    Args:
        shape: (C, H, W) as stored.
        crop: Side of the square, in pixels; no crop if left out.
        name: Name of the set, for messages.

    Raises:
        UserError: The crop is larger than the images.
    """
    if crop is None:
        return shape
    if not 1 <= crop <= min(shape[1:]):
        raise UserError(f"crop of {name} lies between 1 and {min(shape[1:])} pixels; got {crop}")
    return shape[0], crop, crop
