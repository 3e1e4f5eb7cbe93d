"""What the splits of a data set hold: counts, views, checksums, and some images to look at."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.data.batches import Split
from capsbench.data.images import ImageDataModule, SplitName
from capsbench.errors import UserError
from capsbench.viewpoint.factors import FACTORS, field_of
from capsbench.viewpoint.ranges import ViewRange

EXAMPLES = 12  # images of each class
MOST_CLASSES = 20  # rows of a contact sheet
MOST_VALUES = 18  # of a factor, told one by one


@dataclass(frozen=True)
class Description:
    """What a split holds.

    Attributes:
        name: The name of the split, or of the range of views.
        images: How many images.
        per_class: The fewest and the most images of a class.
        views: In words, by factor: how the images were recorded, and how they are moved.
        sha256: Of the stored images, their classes and their numbers in the source.
        examples: Some images of each class, as a model sees them: label and (N, C, H, W) uint8.
    """

    name: str
    images: int
    per_class: tuple[int, int]
    views: dict[str, str]
    sha256: str
    examples: list[tuple[str, NDArray[np.uint8]]]

    def facts(self) -> dict[str, Any]:
        """Everything but the images and the name."""
        shown = ("images", "per_class", "views", "sha256")
        return {name: value for name, value in vars(self).items() if name in shown}


def describe_splits(
    data: ImageDataModule, ranges: Mapping[str, ViewRange] | None = None
) -> list[Description]:
    """Every split of a data set; ``familiar`` and ``novel`` where the test images are of both.

    Args:
        data: The data set.
        ranges: Views to test on, by name: the test images that they show, as they show them.

    Raises:
        UserError: A file is missing or damaged, or no test image is seen from some range.
    """
    data.split("test")  # so that what is wrong with the files is told once
    names: list[SplitName] = ["train", "validation", "test"]
    try:
        data.split("novel")
    except UserError:
        pass
    else:
        names = ["train", "validation", "familiar", "novel"]
    found = [_describe(data, name, name, None) for name in names]
    return found + [_describe(data, name, "test", at) for name, at in (ranges or {}).items()]


def _describe(
    data: ImageDataModule, name: str, split: SplitName, at: ViewRange | None
) -> Description:
    rows = data.view_rows(split, at)
    images = data.split(split)[rows]
    counts = torch.bincount(images.targets, minlength=data.num_classes)
    # A novel split of the set's own is shown as it is.
    as_it_is = split == "novel" and not data.factors
    moved = ViewRange() if as_it_is else at or data.views
    return Description(
        name=name,
        images=len(images),
        per_class=(int(counts.min()), int(counts.max())),
        views={name: _values(images.factors[name]) for name in images.factors} | _moves(moved),
        sha256=checksum(images),
        examples=[
            (data.class_names[label], _examples(data, split, rows[images.targets == label], at))
            for label in counts.nonzero()[:MOST_CLASSES, 0].tolist()
        ],
    )


def checksum(split: Split) -> str:
    """SHA-256 of all that a split holds: images, classes, numbers, factors, masks, poses."""
    digest = sha256()
    for name, value in sorted(vars(split).items()):
        parts = sorted(value.items()) if isinstance(value, Mapping) else [(name, value)]
        for part, tensor in parts:
            if tensor is not None:
                digest.update(f"{part} {tensor.dtype} {tuple(tensor.shape)}".encode())
                digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _values(recorded: Tensor) -> str:
    """The values that a factor takes, in words."""
    values = recorded.unique().tolist()
    if len(values) <= MOST_VALUES:
        return ", ".join(f"{value:g}" for value in values)
    return f"{len(values)} values from {min(values):g} to {max(values):g}"


def _moves(ranges: ViewRange) -> dict[str, str]:
    """The warps and photometric changes of images, in words."""
    told = {}
    for factor, (kind, unit, identity, _) in FACTORS.items():
        spread = ranges.spread(factor)
        if kind != "recorded" and spread is not None and spread.constant != identity:
            told[field_of(factor)] = f"{spread} {unit}".rstrip()
    if told and ranges.part is not None:
        told["part"] = str(ranges.part)
    return told


def _examples(
    data: ImageDataModule, split: SplitName, rows: Tensor, at: ViewRange | None
) -> NDArray[np.uint8]:
    chosen = rows[torch.linspace(0, len(rows) - 1, min(EXAMPLES, len(rows))).long()]
    seen = data.get_batch(split, chosen, at).images
    images: NDArray[np.uint8] = (255 * seen).round().byte().numpy()
    return images
