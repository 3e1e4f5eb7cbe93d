"""What the splits of a data set hold: counts, views, checksums, and some images to look at."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.data.batches import Split
from capsbench.data.images import ImageData, SplitName
from capsbench.errors import UserError
from capsbench.viewpoint.factors import FACTORS, field_of

EXAMPLES = 12  # images of each class
MOST_CLASSES = 20  # rows of a contact sheet
MOST_VALUES = 18  # of a factor, told one by one


@dataclass(frozen=True)
class Description:
    """What a split holds.

    Attributes:
        name: The split's name.
        images: How many images.
        per_class: The fewest and the most images of a class.
        views: In words, by factor: how the images were recorded, and how they are moved.
        sha256: Of the stored images, their classes and their numbers in the source.
        examples: Some images of each class, as a model sees them: label and (N, C, H, W) uint8.
    """

    name: SplitName
    images: int
    per_class: tuple[int, int]
    views: dict[str, str]
    sha256: str
    examples: list[tuple[str, NDArray[np.uint8]]]

    def facts(self) -> dict[str, Any]:
        """Everything but the images and the name."""
        shown = ("images", "per_class", "views", "sha256")
        return {name: value for name, value in vars(self).items() if name in shown}


def describe_splits(data: ImageData) -> list[Description]:
    """Every split of a data set; ``familiar`` and ``novel`` where the test images are of both."""
    names: list[SplitName] = ["train", "validation", "test"]
    try:
        data.split("novel")
    except UserError:
        pass
    else:
        names = ["train", "validation", "familiar", "novel"]
    return [_describe(data, name) for name in names]


def _describe(data: ImageData, name: SplitName) -> Description:
    split = data.split(name)
    counts = torch.bincount(split.targets, minlength=data.num_classes)
    return Description(
        name=name,
        images=len(split),
        per_class=(int(counts.min()), int(counts.max())),
        views={factor: _values(split.factors[factor]) for factor in split.factors}
        | _moves(data, name),
        sha256=checksum(split),
        examples=[
            (data.class_names[label], _examples(data, name, split, label))
            for label in counts.nonzero()[:MOST_CLASSES, 0].tolist()
        ],
    )


def checksum(split: Split) -> str:
    """SHA-256 of a split's images, classes and numbers."""
    digest = sha256()
    for tensor in (split.images, split.targets, split.index):
        digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()


def _values(recorded: Tensor) -> str:
    """The values that a factor takes, in words."""
    values = recorded.unique().tolist()
    if len(values) <= MOST_VALUES:
        return ", ".join(f"{value:g}" for value in values)
    return f"{len(values)} values from {min(values):g} to {max(values):g}"


def _moves(data: ImageData, name: SplitName) -> dict[str, str]:
    """The warps and photometric changes of a split's images, in words."""
    if name == "novel" and not data.factors:  # a split of the set's own, shown as it is
        return {}
    told = {}
    for factor, (kind, unit, identity, _) in FACTORS.items():
        spread = data.views.spread(factor)
        if kind != "recorded" and spread is not None and spread.constant != identity:
            low, high = spread.limits
            told[field_of(factor)] = f"{low:g} to {high:g} {unit}".rstrip()
    return told


def _examples(data: ImageData, name: SplitName, split: Split, label: int) -> NDArray[np.uint8]:
    rows = (split.targets == label).nonzero()[:, 0]
    chosen = rows[torch.linspace(0, len(rows) - 1, min(EXAMPLES, len(rows))).long()]
    images: NDArray[np.uint8] = (255 * data.look(name, chosen).images).round().byte().numpy()
    return images
