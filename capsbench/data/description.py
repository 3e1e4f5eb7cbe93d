"""Description of the splits of a data set: counts, views, checksums, and example images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.data.batches import Split, SplitName
from capsbench.data.images import ImageDataModule
from capsbench.errors import UserError
from capsbench.viewpoint.factors import FACTORS, range_field
from capsbench.viewpoint.ranges import ViewRange

EXAMPLES = 12  # images of each class
MAX_CLASSES = 20  # rows of a contact sheet
MAX_VALUES = 18  # of a factor, listed one by one


@dataclass(frozen=True)
class Description:
    """Contents of a split.

    Attributes:
        name: The name of the split, or of the range of views.
        images: Number of images.
        per_class: The smallest and the largest number of images of a class.
        views: In words, by factor: the recorded views of the images, and the warps applied to them.
        sha256: Of the stored images, their classes and their numbers in the source.
        examples: Some images of each class, as a model sees them: label and (N, C, H, W) uint8.
            Those of training are augmented, each class as a batch of its own.
    """

    name: str
    images: int
    per_class: tuple[int, int]
    views: dict[str, str]
    sha256: str
    examples: list[tuple[str, NDArray[np.uint8]]]

    def facts(self) -> dict[str, Any]:
        """Return all attributes but the name and the example images."""
        return {name: getattr(self, name) for name in ("images", "per_class", "views", "sha256")}


def describe_splits(
    data: ImageDataModule, ranges: Mapping[str, ViewRange] | None = None
) -> list[Description]:
    """Describe every split of a data set, with ``familiar`` and ``novel`` where it has both.

    Args:
        data: The data set.
        ranges: Views to test on, by name; the test images at these views are described as well.

    Raises:
        UserError: A file is missing or damaged, or no test image is seen from some range.
    """
    data.split("test")  # a missing or damaged file is an error here, not only below
    names: list[SplitName] = ["train", "validation", "test"]
    try:
        data.split("novel")
    except UserError:
        pass
    else:
        names = ["train", "validation", "familiar", "novel"]
    splits = [_describe(data, name, name, None) for name in names]
    return splits + [_describe(data, name, "test", views) for name, views in (ranges or {}).items()]


def _describe(
    data: ImageDataModule, name: str, split: SplitName, views: ViewRange | None
) -> Description:
    rows = data.evaluation.view_rows(split, views)
    images = data.split(split)[rows]
    counts = torch.bincount(images.targets, minlength=data.num_classes)
    return Description(
        name=name,
        images=len(images),
        per_class=(int(counts.min()), int(counts.max())),
        views={name: _values(images.factors[name]) for name in images.factors}
        | _applied_views(views or data.default_views(split)),
        sha256=checksum(images),
        examples=[
            (
                data.class_names[label],
                _examples(data, split, rows[images.targets == label], views, label),
            )
            for label in counts.nonzero()[:MAX_CLASSES, 0].tolist()
        ],
    )


def checksum(split: Split) -> str:
    """Return the SHA-256 of a split: images, classes, numbers, factors, masks, poses."""
    digest = sha256()
    for name, value in sorted(vars(split).items()):
        parts = sorted(value.items()) if isinstance(value, Mapping) else [(name, value)]
        for part, tensor in parts:
            if tensor is not None:
                digest.update(f"{part} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _values(recorded: Tensor) -> str:
    """Return the recorded values of a factor, in words."""
    values = recorded.unique().tolist()
    if len(values) <= MAX_VALUES:
        return ", ".join(f"{value:g}" for value in values)
    return f"{len(values)} values from {min(values):g} to {max(values):g}"


def _applied_views(ranges: ViewRange) -> dict[str, str]:
    """Return the warps and photometric changes of a range, in words by factor."""
    applied = {}
    for factor, (kind, unit, identity, _) in FACTORS.items():
        spread = ranges.spread(factor)
        if kind != "recorded" and spread is not None and spread.constant != identity:
            applied[range_field(factor)] = f"{spread} {unit}".rstrip()
    if applied and ranges.part is not None:
        applied["part"] = str(ranges.part)
    return applied


def _examples(
    data: ImageDataModule, split: SplitName, rows: Tensor, views: ViewRange | None, number: int
) -> NDArray[np.uint8]:
    """Return some of the images in given rows, augmented as batch ``number`` in training."""
    chosen = rows[torch.linspace(0, len(rows) - 1, min(EXAMPLES, len(rows))).long()]
    images = data.evaluation.get_batch(split, chosen, views).images
    if split == "train":
        images = data.augment(images, number)
    pixels: NDArray[np.uint8] = (255 * images).round().byte().numpy()
    return pixels
