"""Random images in memory, in a data module like that of any warped data set."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from capsbench.contracts import ImageShape
from capsbench.data.batches import Split, SplitName
from capsbench.data.images import Identity, ImageDataModule
from capsbench.data.randomness import generator
from capsbench.viewpoint.ranges import ViewRange

# Typical views of a training on digits.
VIEWS = ViewRange(rotation=(-15, 15), shift=(-2, 2))


def noise_images(
    shape: ImageShape, *, num_classes: int, count: int, batch_size: int, views: ViewRange = VIEWS
) -> ImageDataModule:
    """Return a data module of noise.

    Args:
        shape: (C, H, W).
        num_classes: K.
        count: Images in each split.
        batch_size: Images in a training batch.
        views: Views of the training images.
    """

    class Noise(ImageDataModule):
        """Uniform noise; the cost of loading does not depend on the content of images."""

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

    data = Noise(views=views, batch_size=batch_size)
    data.num_classes = num_classes
    data.class_names = tuple(map(str, range(num_classes)))
    return data
