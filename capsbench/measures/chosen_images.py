"""Some of the familiar test images, for measures that are too expensive for all of them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import torch
from torch import Tensor

from capsbench.contracts import Batch
from capsbench.data.images import EVALUATION_BATCH, Asked, ImageData
from capsbench.data.splits import balanced_order


def chosen_rows(data: ImageData, count: int) -> Tensor:
    """Which familiar test images a measure looks at, the same for every model.

    Args:
        data: The data module.
        count: How many of them at the most. The classes are in near-equal numbers (where images
            hold several objects, those of the first one); fewer are a part of more.

    Returns:
        (N,) rows of the familiar split, sorted.
    """
    targets = data.split("familiar").targets
    return balanced_order(targets, "images to measure")[:count].sort().values


def chosen_batches(
    data: ImageData,
    device: torch.device | str,
    rows: Tensor,
    at: Asked = None,
    *,
    batch: int = EVALUATION_BATCH,
) -> Iterator[Batch]:
    """Familiar test images in device batches. They are warped on the CPU, as they are few.

    Args:
        data: The data module.
        device: Where the batches are wanted.
        rows: (N,) which images, from `chosen_rows`.
        at: From where they are seen, see `ImageData.batches`; recorded views select among them.
        batch: The most images in a batch.

    Raises:
        UserError: The set does not record the view, or has no such image.
    """
    seen = rows[torch.isin(rows, data.shown("familiar", at))]
    for piece in seen.split(batch):
        found = data.look("familiar", piece, at)
        yield replace(
            found,
            images=found.images.to(device),
            targets=found.targets.to(device),
            index=found.index.to(device),
        )
