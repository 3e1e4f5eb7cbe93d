"""Test images at views that a measure draws for each of them."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from capsbench.contracts import Batch
from capsbench.data.batches import Split
from capsbench.data.evaluation import EVALUATION_BATCH
from capsbench.data.images import ImageDataModule
from capsbench.viewpoint.part import Part
from capsbench.viewpoint.views import Views


def batches_at_views(
    data: ImageDataModule, images: Split, views: Views, part: Part, device: torch.device | str
) -> Iterator[Batch]:
    """Yield images in batches on a device, each image at its own view; the device warps them.

    Args:
        data: The data module.
        images: N of its images.
        views: N views, on the CPU.
        part: Part that the views move; None for the whole image.
        device: Device of the batches.
    """
    for rows in torch.arange(len(images)).split(EVALUATION_BATCH):
        stored = data.make_batch(images[rows], views[rows], part)
        moved = stored.to(device)
        yield data.on_after_batch_transfer(moved, 0)
