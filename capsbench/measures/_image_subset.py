"""Subsets of the test images, for measures that are too expensive for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.contracts import Batch
from capsbench.data.batches import SplitName
from capsbench.data.evaluation import EVALUATION_BATCH, ViewSelection
from capsbench.data.images import ImageDataModule
from capsbench.data.splits import balanced_order
from capsbench.errors import UserError
from capsbench.measures._view_pairs import partners_by_change
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views


def subset_rows(data: ImageDataModule, count: int) -> Tensor:
    """Return rows of familiar test images for a measure, the same for every model.

    Args:
        data: The data module.
        count: Largest number of images. The classes have near-equal numbers; images of several
            objects count by the first one. A smaller subset is part of a larger one.

    Returns:
        (N,) rows of the familiar split, sorted.
    """
    targets = data.split("familiar").targets
    return balanced_order(targets, "images to measure")[:count].sort().values


class ImageSubset(NamedTuple):
    """Test images that a measure compares with the same images from other views.

    Attributes:
        split: Split that the images belong to.
        rows: (N,) rows in the split.
        partners: By change of a recorded factor, (N,) rows of the images of the same objects after
            the change.
    """

    split: SplitName
    rows: Tensor
    partners: Mapping[GridView, Tensor]

    def select(self, positions: Tensor) -> ImageSubset:
        """Return the images at some positions of the subset, (n,)."""
        partners = {change: rows[positions] for change, rows in self.partners.items()}
        return ImageSubset(self.split, self.rows[positions], partners)


def image_subset(data: ImageDataModule, views: Sequence[GridView], count: int) -> ImageSubset:
    """Return the images that a measure compares with themselves from the views of a grid.

    Warps and photometric factors are applied to familiar test images. The value of a recorded
    factor is a change: images of one object are compared. These come from all test images, familiar
    or novel, that have a partner for every change.

    Args:
        data: The data module.
        views: The views.
        count: Largest number of images, see `subset_rows`.

    Raises:
        UserError: The set does not record which object an image shows, or no image has all
            partners.
    """
    changes = [view for view in views if view.recorded]
    if not changes:
        return ImageSubset("familiar", subset_rows(data, count), {})
    test = data.split("test")
    partners = partners_by_change(test, changes)
    complete = (partners >= 0).all(dim=1).nonzero()[:, 0]
    if not len(complete):
        names = ", ".join(change.change_key for change in changes)
        raise UserError(
            f"no test image of {data.identity.name} has a partner for each of {names}: use changes "
            "by which the set was recorded, or fewer"
        )
    order = balanced_order(test.targets[complete], "images to measure")
    rows = complete[order[:count]].sort().values
    return ImageSubset("test", rows, dict(zip(changes, partners[rows].T, strict=True)))


def familiar_batches(
    data: ImageDataModule,
    device: torch.device | str,
    rows: Tensor,
    views: ViewSelection = None,
    *,
    batch_size: int = EVALUATION_BATCH,
) -> Iterator[Batch]:
    """Yield familiar test images in batches on a device; they are warped on the CPU.

    Args:
        data: The data module.
        device: Device of the batches.
        rows: (N,) rows of the images, from `subset_rows`.
        views: The views, see `EvaluationImages.batches`; recorded views select among the images.
        batch_size: Largest number of images in a batch.

    Raises:
        UserError: The set does not record the view, or has no such image.
    """
    selected = rows[torch.isin(rows, data.evaluation.view_rows("familiar", views))]
    yield from _on_device(data, device, "familiar", selected, views, batch_size)


def subset_batches(
    data: ImageDataModule, device: torch.device | str, subset: ImageSubset, views: ViewSelection
) -> Iterator[Batch]:
    """Yield images from a view, or their partners after a change, in batches on a device.

    Args:
        data: The data module.
        device: Device of the batches.
        subset: The images.
        views: The view; a recorded view of a grid is a change.
    """
    rows = subset.rows
    if isinstance(views, GridView) and views.recorded:
        rows, views = subset.partners[views], Views.identity(1)
    yield from _on_device(data, device, subset.split, rows, views, EVALUATION_BATCH)


def _on_device(
    data: ImageDataModule,
    device: torch.device | str,
    split: SplitName,
    rows: Tensor,
    views: ViewSelection,
    batch_size: int,
) -> Iterator[Batch]:
    for part in rows.split(batch_size):
        batch = data.evaluation.get_batch(split, part, views)
        yield replace(
            batch,
            images=batch.images.to(device),
            targets=batch.targets.to(device),
            index=batch.index.to(device),
        )
