"""Evaluation images of a data module, by split and view."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from capsbench.contracts import Batch
from capsbench.data.batches import EvaluationPass, Split, SplitName, StoredBatch
from capsbench.data.randomness import views_by_index
from capsbench.data.splits import recorded_within
from capsbench.errors import UserError
from capsbench.viewpoint.joint import SweptView
from capsbench.viewpoint.ranges import ViewRange, recorded_spreads
from capsbench.viewpoint.views import Views

if TYPE_CHECKING:
    from capsbench.data.images import ImageDataModule

# One view for all images (of a grid, or any warp); or a range, from which each image has a view of
# its own, the same one in every run; or None, for a familiar view of each image.
ViewSelection = SweptView | ViewRange | Views | None
CPU = torch.device("cpu")
EVALUATION_BATCH = 100  # larger ones are slower on a CPU, where activations leave the cache
KEPT_BYTES = 2**28  # of images that are kept for a second network


class EvaluationImages:
    """Access to the splits of a data module at chosen views; ``data.evaluation`` is one.

    An image's view is a function of its number in the source. It depends neither on the batch, nor
    on the order, the device, a limit or the number of processes.

    Args:
        data: The data module.
    """

    def __init__(self, data: ImageDataModule) -> None:
        self._data = data
        self._resident: dict[tuple[SplitName, torch.device], Split] = {}
        self._kept: dict[tuple[SplitName, SweptView, bytes], Batch] | None = None
        self._kept_bytes = 0

    @contextmanager
    def kept_batches(self) -> Iterator[None]:
        """Keep the batches of `get_batch` at views of grids, up to 256 MiB of images.

        A measure of two networks warps each image once. What does not fit is made again.
        """
        self._kept, self._kept_bytes = {}, 0
        try:
            yield
        finally:
            self._kept = None

    def batches(
        self, split: SplitName, device: torch.device | str, views: ViewSelection = None
    ) -> Iterator[Batch]:
        """Yield a split in batches on a device, to which its pixels are copied only once.

        Args:
            split: Name of the split.
            device: Device of the batches.
            views: The views. Recorded views select images, see `view_rows`.
        """
        torch_device = torch.device(device)
        for stored in self.stored_batches(split, views, torch_device):
            moved = stored.to(torch_device)
            yield self._data.on_after_batch_transfer(moved, 0)

    def get_batch(self, split: SplitName, rows: Tensor, views: ViewSelection = None) -> Batch:
        """Return some images of a split as one batch on the CPU.

        Args:
            split: Name of the split.
            rows: (B,) rows in the split.
            views: The views, see `batches`.
        """
        if self._kept is None or not isinstance(views, SweptView):
            return self._make_batch(split, rows, views)
        key = (split, views, rows.numpy().tobytes())
        if key in self._kept:
            return self._kept[key]
        batch = self._make_batch(split, rows, views)
        if self._kept_bytes + batch.images.nbytes <= KEPT_BYTES:
            self._kept[key] = batch
            self._kept_bytes += batch.images.nbytes
        return batch

    def view_rows(self, split: SplitName, views: ViewSelection) -> Tensor:
        """Return the rows whose recorded factors match a view, or the views of a range.

        Factors that the view does not specify are as in training.

        Args:
            split: Name of the split.
            views: The view or the range.

        Returns:
            (N,) rows in the split.

        Raises:
            UserError: The set does not record a factor of the view, or has no such image.
        """
        images = self._data.split(split)
        if views is None:
            return torch.arange(len(images))
        factors = self._data.familiar_factors
        if not isinstance(views, Views):
            self._data.require_views(views)
            factors |= recorded_spreads(views)
        rows = recorded_within(images, factors).nonzero()[:, 0]
        if not len(rows):
            selection = "; ".join(f"{name} {spread}" for name, spread in factors.items())
            raise UserError(f"no {split} image of {self._data.identity.name} has {selection}")
        return rows

    def stored_batches(
        self, split: SplitName, views: ViewSelection = None, device: torch.device = CPU
    ) -> EvaluationPass:
        """Return this process's share of a split, in batches that are not yet warped.

        Args:
            split: Name of the split.
            views: The views, see `batches`.
            device: Device on which the pixels are kept.
        """
        rank, world_size = self._data.rank_and_world_size
        return EvaluationPass(
            self.view_rows(split, views),
            make_batch=self._batch_maker(split, views, device),
            batch_size=EVALUATION_BATCH,
            rank=rank,
            world=world_size,
        )

    def _make_batch(self, split: SplitName, rows: Tensor, views: ViewSelection) -> Batch:
        return self._data.on_after_batch_transfer(self._batch_maker(split, views)(rows), 0)

    def _batch_maker(
        self, name: SplitName, views: ViewSelection, device: torch.device = CPU
    ) -> Callable[[Tensor], StoredBatch]:
        """Return the function from rows of a split to their batch at given views."""
        split, make_batch = self._on_device(name, device), self._data.make_batch
        if isinstance(views, SweptView | Views):
            view = Views.of_grid([views]) if isinstance(views, SweptView) else views
            part = views.part if isinstance(views, SweptView) else self._data.views.part
            return lambda rows: make_batch(split[rows], view, part)
        ranges = self._data.default_views(name) if views is None else views
        table = "validation" if name == "validation" else "test"
        views_by_image = views_by_index(ranges, split.index, "evaluation views", table)
        return lambda rows: make_batch(split[rows], views_by_image[rows], ranges.part)

    def _on_device(self, name: SplitName, device: torch.device) -> Split:
        """Return a split whose pixels are on a device; all else, which is small, stays."""
        split = self._data.split(name)
        if (name, device) not in self._resident:
            self._resident[name, device] = replace(split, images=split.images.to(device))
        return self._resident[name, device]
