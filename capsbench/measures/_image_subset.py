"""Some of the test images, for measures that are too expensive for all of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.contracts import Batch
from capsbench.data.images import EVALUATION_BATCH, ImageDataModule, SplitName, ViewSelection
from capsbench.data.splits import balanced_order
from capsbench.errors import UserError
from capsbench.measures._view_pairs import all_partners
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views


def chosen_rows(data: ImageDataModule, count: int) -> Tensor:
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


class Chosen(NamedTuple):
    """Images to be compared with themselves from other views.

    Attributes:
        split: The split that they belong to.
        rows: (N,) their rows in it.
        partners: By change of how the object stood, (N,) rows of what is seen then.
    """

    split: SplitName
    rows: Tensor
    partners: Mapping[GridView, Tensor]

    def of(self, some: Tensor) -> Chosen:
        """Some of them."""
        partners = {change: rows[some] for change, rows in self.partners.items()}
        return Chosen(self.split, self.rows[some], partners)


def chosen_for(data: ImageDataModule, views: Sequence[GridView], count: int) -> Chosen:
    """Which images a measure compares with what is seen of them from views of a grid.

    Warps and light are applied to the image. Of a recorded factor the value is a change: images of
    one object are compared, of all that are tested, familiar or not, as far as each has a partner
    for every change.

    Args:
        data: The data module.
        views: The views.
        count: How many images at the most, see `chosen_rows`.

    Raises:
        UserError: The set does not tell its objects apart, or no image has all partners.
    """
    changes = [view for view in views if view.recorded]
    if not changes:
        return Chosen("familiar", chosen_rows(data, count), {})
    test = data.split("test")
    found = all_partners(test, changes)
    whole = (found >= 0).all(dim=1).nonzero()[:, 0]
    if not len(whole):
        told = ", ".join(change.change_key for change in changes)
        raise UserError(
            f"no test image of {data.identity.name} has a partner for each of {told}: ask for "
            "changes by which the set was recorded, or for fewer"
        )
    order = balanced_order(test.targets[whole], "images to measure")
    rows = whole[order[:count]].sort().values
    return Chosen("test", rows, dict(zip(changes, found[rows].T, strict=True)))


def chosen_batches(
    data: ImageDataModule,
    device: torch.device | str,
    rows: Tensor,
    at: ViewSelection = None,
    *,
    batch: int = EVALUATION_BATCH,
) -> Iterator[Batch]:
    """Familiar test images in device batches. They are warped on the CPU, as they are few.

    Args:
        data: The data module.
        device: Where the batches are wanted.
        rows: (N,) which images, from `chosen_rows`.
        at: From where they are seen, see `ImageDataModule.batches`; recorded views select among them.
        batch: The most images in a batch.

    Raises:
        UserError: The set does not record the view, or has no such image.
    """
    seen = rows[torch.isin(rows, data.view_rows("familiar", at))]
    yield from _on_device(data, device, "familiar", seen, at, batch)


def seen_batches(
    data: ImageDataModule, device: torch.device | str, chosen: Chosen, at: ViewSelection
) -> Iterator[Batch]:
    """Images in device batches, from a view, or as their partners show them after a change."""
    rows = chosen.rows
    if isinstance(at, GridView) and at.recorded:
        rows, at = chosen.partners[at], Views.identity(1)
    yield from _on_device(data, device, chosen.split, rows, at, EVALUATION_BATCH)


def _on_device(
    data: ImageDataModule,
    device: torch.device | str,
    split: SplitName,
    rows: Tensor,
    at: ViewSelection,
    batch: int,
) -> Iterator[Batch]:
    for piece in rows.split(batch):
        found = data.get_batch(split, piece, at)
        yield replace(
            found,
            images=found.images.to(device),
            targets=found.targets.to(device),
            index=found.index.to(device),
        )
