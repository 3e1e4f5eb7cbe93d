"""Sets whose views were recorded: which images are trained on, validated on and tested on."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import torch
from pydantic import Field
from torch import Tensor

from capsbench.contracts import ImageShape
from capsbench.data.batches import Split
from capsbench.data.images import ImageDataModule, SplitName
from capsbench.data.splits import hold_out_of_each, inside
from capsbench.errors import UserError
from capsbench.viewpoint.spread import Spread

VALIDATION_SHARE = 0.1  # where no instance can be held out
Share = Annotated[float, Field(ge=0, lt=1)]


@dataclass(frozen=True)
class Recording:
    """All images of a set, with how each was taken.

    Attributes:
        images: The images; ``factors`` says how each object stood.
        official_test: (N,) bool, the set's own test images; None where it has none.
    """

    images: Split
    official_test: Tensor | None = None


class RecordedData(ImageDataModule):
    """Images of objects from views that were recorded, and can only be chosen from.

    Familiar are the images inside of ``views.azimuth``, ``views.elevation`` and so on. Tested are
    the set's own test images; or, where it has none, those of ``test_instances``; or, where none
    are named, all images that are not familiar, and a share of those that are. Of the other
    images, the familiar ones are trained on, but for those that validation holds out: whole
    instances where each class has several, else some images of each class.

    Args:
        validation_instances: Instances of each class to validate on; if left out, the last one of
            each class that may be trained on.
        test_instances: Instances of each class to test on, for a set that has no division.
        familiar_test_share: Share of the familiar images that are kept for the test, for a set that
            has no division and without ``test_instances``.
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
        self._splits_apart = False  # whether training and test share no instance

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
        familiar = inside(images, self.views.recorded)
        if not familiar.any():
            wanted = "; ".join(f"{name} {spread}" for name, spread in self.views.recorded.items())
            raise UserError(f"{self._name} has no image with {wanted}")
        test = self._test(recording, familiar)
        learned = (familiar & ~test).nonzero()[:, 0]
        self._require_all_classes("train", images.targets[learned])
        if not test.any():
            raise UserError(
                f"{self._name} has no image to test on: all are familiar and trained on; restrict "
                "the views, or give test_instances or a familiar_test_share above 0"
            )
        held = self._validation(images[learned])
        train, validation = learned[~held], learned[held]
        for what, rows in (("train", train), ("test", test.nonzero()[:, 0])):
            self._require_all_classes(what, images.targets[rows])
        self._splits_apart = "instance" in images.factors and not bool(
            torch.isin(images.factors["instance"][learned], images.factors["instance"][test]).any()
        )
        return {"train": images[train], "validation": images[validation], "test": images[test]}

    @property
    def familiar_factors(self) -> dict[str, Spread]:
        """The recorded factors by which a test image is familiar.

        Where the test has other instances than the training, no image would be familiar by that.
        """
        found = self.views.recorded
        if self._splits_apart:
            found.pop("instance", None)
        return found

    @property
    def _name(self) -> str:
        return self.identity.name

    def _test(self, recording: Recording, familiar: Tensor) -> Tensor:
        """(N,) bool, which images are tested on."""
        images = recording.images
        if recording.official_test is not None:
            if self.test_instances is not None:
                raise UserError(
                    f"{self._name} has test images of its own: leave test_instances out"
                )
            return recording.official_test
        if self.test_instances is not None:
            return self._instances("test_instances", images, self.test_instances)
        rows = familiar.nonzero()[:, 0]
        share = self.familiar_test_share
        _, held = hold_out_of_each(images.targets[rows], share, self._name, "test")
        test = ~familiar
        test[rows[held]] = True
        return test

    def _validation(self, images: Split) -> Tensor:
        """(N,) bool, which of the images that may be trained on are held out."""
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
        held[hold_out_of_each(images.targets, VALIDATION_SHARE, *names)[1]] = True
        return held

    def _instances(self, argument: str, images: Split, wanted: Sequence[int]) -> Tensor:
        """(N,) bool, which images are of some instances."""
        if "instance" not in images.factors:
            raise UserError(f"{self._name} does not tell instances apart: leave {argument} out")
        instances = images.factors["instance"]
        known = sorted({int(number) for number in instances.tolist()})
        if not wanted or not set(wanted) <= set(known):
            raise UserError(f"{argument} of {self._name} are among {known}; got {list(wanted)}")
        return torch.isin(instances, instances.new_tensor(list(wanted)))

    def _require_all_classes(self, what: str, targets: Tensor) -> None:
        counts = torch.bincount(targets, minlength=self.num_classes)
        if missing := (counts == 0).nonzero()[:, 0].tolist():
            names = ", ".join(self.class_names[label] for label in missing)
            raise UserError(
                f"{self._name} would have no {what} image of {names}: restrict the views less, "
                "or keep fewer instances or images from training"
            )


def _ends_of_each(numbers: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """(N,) and (N,), the lowest and the highest number of each image's own class."""
    ends = (
        numbers.new_zeros(int(targets.max()) + 1).scatter_reduce(
            0, targets, numbers, end, include_self=False
        )[targets]
        for end in ("amin", "amax")
    )
    lowest, highest = ends
    return lowest, highest


def middle(shape: ImageShape, crop: int | None, what: str) -> ImageShape:
    """The shape of images of which only the middle is shown.

    Args:
        shape: (C, H, W) as stored.
        crop: Pixels that are shown, across and down; all if left out.
        what: Name of the set, for messages.

    Raises:
        UserError: The crop is larger than the images.
    """
    if crop is None:
        return shape
    if not 1 <= crop <= min(shape[1:]):
        raise UserError(f"crop of {what} lies between 1 and {min(shape[1:])} pixels; got {crop}")
    return shape[0], crop, crop
