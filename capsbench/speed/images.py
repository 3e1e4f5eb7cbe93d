"""Made-up images in memory, in the data module of every warped data set."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from capsbench.contracts import ImageShape
from capsbench.data.batches import Split, SplitName
from capsbench.data.images import Identity, ImageDataModule
from capsbench.data.randomness import generator
from capsbench.viewpoint.ranges import ViewRange

# Views as a training on digits draws them.
VIEWS = ViewRange(rotation=(-15, 15), shift=(-2, 2))


def noise_images(
    shape: ImageShape, *, num_classes: int, count: int, batch: int, views: ViewRange = VIEWS
) -> ImageDataModule:
    """A data module of noise, with so many images in each split.

    Args:
        shape: (C, H, W).
        num_classes: K.
        count: Images of a split.
        batch: Images in a training batch.
        views: The views of the training images.
    """

    class Noise(ImageDataModule):
        """Uniform noise: what it costs to feed a model does not depend on what images show."""

        identity = Identity("noise", "1", "none")
        image_shape = shape
        source: ClassVar[str] = "made for timing"

        def load(self) -> dict[SplitName, Split]:
            images = torch.randint(
                256, (count, *shape), dtype=torch.uint8, generator=generator("noise", *shape)
            )
            rows = torch.arange(count)
            split = Split(images, rows % num_classes, rows)
            return {"train": split, "validation": split, "test": split}

        @classmethod
        def availability(cls, data_root: Path) -> str:
            return "made up"

    data = Noise(views=views, batch_size=batch)
    data.num_classes = num_classes
    data.class_names = tuple(map(str, range(num_classes)))
    return data
