"""Test images and objects that are also in training: equal pixels, and recorded objects."""

from __future__ import annotations

from hashlib import blake2b
from typing import TYPE_CHECKING, Annotated

from pydantic import ConfigDict, Field

from capsbench.strict import StrictModel

if TYPE_CHECKING:  # records import no torch
    from torch import Tensor

    from capsbench.data.images import ImageDataModule

Count = Annotated[int, Field(ge=0, le=10**15)]  # as in records: beyond, sums overflow


class Overlap(StrictModel):
    """Test images, and objects in them, that are also among those of training and validation.

    Attributes:
        test_images: Number of test images.
        equal_images: Number of those that equal a training or validation image pixel by pixel, as
            they are stored.
        test_objects: Number of objects in the test images; None if no objects are recorded.
        seen_objects: Number of those that are in training or validation images, too.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    test_images: Count
    equal_images: Count
    test_objects: Count | None = None
    seen_objects: Count | None = None


def measure_overlap(data: ImageDataModule) -> Overlap:
    """Compare the test images of a set, and the objects in them, with those of training.

    Validation images count as training images, because they select the weights. What ``per_class``
    and ``limit`` leave out does not count.

    Raises:
        UserError: A file is missing or damaged.
    """
    train, validation, test = data.split("train"), data.split("validation"), data.split("test")
    known = {*pixel_sums(train.images), *pixel_sums(validation.images)}
    equal = sum(each in known for each in pixel_sums(test.images))
    objects = data.objects(test)
    if objects is None:
        return Overlap(test_images=len(test), equal_images=equal)
    tested = _distinct(objects)
    seen = tested & (_distinct(data.objects(train)) | _distinct(data.objects(validation)))
    return Overlap(
        test_images=len(test),
        equal_images=equal,
        test_objects=len(tested),
        seen_objects=len(seen),
    )


def pixel_sums(images: Tensor) -> list[bytes]:
    """Return a checksum of the pixels of each image.

    Args:
        images: (N, C, H, W) uint8.
    """
    rows = images.flatten(1).contiguous().numpy()
    return [blake2b(row, digest_size=16).digest() for row in rows]


def _distinct(objects: Tensor | None) -> set[tuple[int, ...]]:
    """Return the different rows of (N, D) objects."""
    return set() if objects is None else set(map(tuple, objects.unique(dim=0).tolist()))
