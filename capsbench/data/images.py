"""The data module: uint8 images in memory, made float and seen from a view on the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple

import torch
from pytorch_lightning import LightningDataModule
from torch import Tensor

from capsbench.contracts import Batch, ImageShape
from capsbench.data.batches import EvaluationPass, Split, StoredBatch, TrainingStream
from capsbench.data.randomness import generator, views_by_index
from capsbench.data.splits import balanced_order, inside, some_of_each
from capsbench.errors import UserError
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.part import Part
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.spread import Spread
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import (
    Padding,
    as_float,
    centroids,
    relight,
    warp,
    warp_part,
    window,
)

SplitName = Literal["train", "validation", "test", "familiar", "novel", "rearranged"]
ViewSelection = GridView | ViewRange | Views | None
CPU = torch.device("cpu")
EVALUATION_BATCH = 100  # larger ones are slower on a CPU, where activations leave the cache


class Identity(NamedTuple):
    """What makes a data set the one that it is; part of a training's fingerprint."""

    name: str
    version: str
    checksum: str


class ImageDataModule(LightningDataModule, ABC):
    """Images with class labels, seen from views that the framework chooses.

    A data set is a subclass that names itself and says how its splits are loaded; what it says of
    itself as class attributes may instead depend on arguments, and be set in its constructor. No
    worker process is needed: batches are gathered by index from memory and warped where the model
    is. Images may be stored larger than ``image_shape``: their middle is shown, after the warp.

    Attributes:
        revision: Part of the fingerprint of a training. It rises whenever a change of code changes
            the images, splits or views of the class. A subclass that changes only its own numbers
            raises its own.

    Args:
        views: The views of the training and validation images.
        batch_size: Images in a training batch, over all processes together.
        seed: Seed of the order and the views of training, and of which images are taken where
            ``per_class`` leaves some out. Splits, and the views of evaluation images, do not
            depend on it.
        per_class: Train on so many images of each class, or on this share of them (below 1); as
            many at the most are left for validation.
        limit: Use at most this many images of each split, the classes in near-equal numbers.
        data_root: Folder of data files at hand.

    Raises:
        UserError: The views restrict what the set does not record.
    """

    revision: ClassVar[int] = 1
    identity: Identity
    image_shape: ImageShape
    num_classes: int
    class_names: tuple[str, ...]
    source: ClassVar[str]
    factors: tuple[str, ...] = ()
    has_masks: bool = False
    padding: Padding = "zeros"

    def __init__(
        self,
        *,
        views: ViewRange | None = None,
        batch_size: int = 64,
        seed: int = 0,
        per_class: float | None = None,
        limit: int | None = None,
        data_root: Path | str | None = None,
    ) -> None:
        super().__init__()
        self.views = views or ViewRange()
        self.batch_size = batch_size
        self.seed = seed
        self.per_class = per_class
        self.limit = limit
        self.data_root = Path("data" if data_root is None else data_root)
        self._splits: dict[SplitName, Split] | None = None
        self._resident: dict[tuple[SplitName, torch.device], Split] = {}
        self.require(self.views)

    @abstractmethod
    def load(self) -> dict[SplitName, Split]:
        """Read the set and divide it into ``train``, ``validation`` and ``test``.

        A set may add a ``novel`` split of its own, whose images are shown as they are. The division
        is a function of the files and of which recorded views are familiar.

        Raises:
            UserError: A file is missing or damaged.
        """

    @classmethod
    @abstractmethod
    def availability(cls, data_root: Path) -> str:
        """In one line, whether the files are at hand under a folder, and what to do if not."""

    @property
    def notes(self) -> list[str]:
        """What is to be known of the files that were loaded, in sentences; seldom anything."""
        return []

    def require(self, views: ViewRange | GridView) -> None:
        """Refuse views that this set cannot show.

        Raises:
            UserError: A factor is not recorded, or there are no masks of objects.
        """
        name = self.identity.name
        chosen = [views.factor] if isinstance(views, GridView) and views.recorded else []
        for factor in views.recorded if isinstance(views, ViewRange) else chosen:
            if factor not in self.factors:
                known = f"only {', '.join(self.factors)}" if self.factors else "no view"
                raise UserError(f"{name} records {known}: views cannot be chosen by {factor}")
        if views.part == "object" and not self.has_masks:
            raise UserError(
                f"{name} has no masks of its objects: views.part cannot be 'object'; "
                "give a window (width, height, x, y)"
            )

    def split(self, name: SplitName) -> Split:
        """The images of a split, cut to what is wanted of them.

        ``familiar`` and ``novel`` are the test images recorded inside and outside of the views of
        training; a set that records no view has them all in ``familiar``. ``rearranged`` are test
        images with the objects' parts out of relation, if the set can show them.

        Raises:
            UserError: There are no such images.
        """
        if self._splits is None:
            self._splits = {key: self.subset(key, split) for key, split in self.load().items()}
        if name in self._splits:
            return self._splits[name]
        if name == "rearranged":
            return self.rearrange()
        test = self._splits["test"]
        familiar = inside(test, self.familiar_factors)
        wanted = familiar if name == "familiar" else ~familiar
        if not wanted.any():
            raise UserError(
                f"{self.identity.name} has no {name} test images with these views: "
                "name ranges of views to test on"
            )
        return test[wanted]

    @property
    def familiar_factors(self) -> dict[str, Spread]:
        """The recorded factors by which a test image is familiar."""
        return self.views.recorded

    def rearrange(self) -> Split:
        """The test images, in the same order, with the objects' parts out of relation.

        Raises:
            UserError: The set does not know of parts.
        """
        raise UserError(
            f"{self.identity.name} does not know the parts of its objects: it has no rearranged "
            "images"
        )

    def subset(self, name: SplitName, split: Split) -> Split:
        """What is used of a split that was loaded, as ``per_class`` and ``limit`` want it.

        A set whose images are made of several others makes them here, of those that are left.
        """
        if self.per_class is not None and name in ("train", "validation"):
            split = split[some_of_each(split.targets, self.per_class, name, self.seed)]
        if self.limit is None or self.limit >= len(split):
            return split
        return split[balanced_order(split.targets, "limit", name)[: self.limit].sort().values]

    def setup(self, stage: str) -> None:
        """Load the set; Lightning calls this in every process."""
        self.split("train")

    def train_dataloader(self) -> TrainingStream:
        """The stream of training batches; this process's share where there are several."""
        rank, world = self._process()
        require_shares(self.batch_size, world)
        return TrainingStream(
            len(self.split("train")),
            batch_size=self.batch_size,
            take=self.make_training_batch,
            seed=self.seed,
            rank=rank,
            world=world,
        )

    def val_dataloader(self) -> EvaluationPass:
        """The validation images, each from the same familiar view in every run."""
        return self._pass("validation", None)

    def test_dataloader(self) -> EvaluationPass:
        """The test images, each from the same familiar view in every run."""
        return self._pass("test", None)

    def make_training_batch(self, number: int, rows: Tensor, share: slice) -> StoredBatch:
        """A share of a training batch.

        Args:
            number: The batch's number.
            rows: (B,) the rows in the training split of all of its images.
            share: Which of these are wanted.
        """
        views = Views.draw(self.views, len(rows), generator(self.seed, "views", number))
        return self.make_batch(self.split("train")[rows[share]], views[share], self.views.part)

    def make_batch(self, images: Split, views: Views, part: Part) -> StoredBatch:
        """Images with the views from which they are to be seen.

        Args:
            images: B images.
            views: B views.
            part: What moves.
        """
        masks = images.masks if part == "object" else None
        if masks is not None:
            views = views.about(centroids(masks))
        return StoredBatch(images.images, images.targets, views, images.index, masks, images.poses)

    def transfer_batch_to_device(
        self, batch: StoredBatch, device: torch.device, dataloader_idx: int
    ) -> StoredBatch:
        """Move the images; the views stay, since the warp asks the CPU which of them are exact."""
        move = partial(torch.Tensor.to, device=device, non_blocking=True)
        return replace(
            batch,
            images=move(batch.images),
            targets=move(batch.targets),
            index=move(batch.index),
            masks=None if batch.masks is None else move(batch.masks),
            poses=None if batch.poses is None else move(batch.poses),
        )

    def on_after_batch_transfer(self, batch: StoredBatch, dataloader_idx: int) -> Batch:
        """Make images float in [0, 1] and show them from their views, on the device."""
        seen = self.render(batch.images, batch.views, batch.masks)
        return Batch(seen, batch.targets, batch.views.to(seen), batch.index, batch.poses)

    def render(self, images: Tensor, views: Views, masks: Tensor | None = None) -> Tensor:
        """Stored images as a model sees them from given views.

        Args:
            images: (B, C, H, W) uint8, or in [0, 1], as large as they are stored.
            views: B views, or one for all, on the CPU.
            masks: (B, 1, H, W), the objects that move; all moves if left out.

        Returns:
            (B, *image_shape) in [0, 1].
        """
        height, width = images.shape[-2:]
        matrices = views.matrices(height, width)
        size = (self.image_shape[1], self.image_shape[2])
        if views.window is not None:
            masks = window(views.centre, views.window, (height, width))
        if masks is not None:
            seen = warp_part(as_float(images), masks, matrices, size, padding=self.padding)
        else:
            seen = warp(images, matrices, size, padding=self.padding)
        if not views.has_photometric:
            return seen
        light = views.to(seen)
        mean = as_float(images).mean(dim=(2, 3), keepdim=True)
        return relight(seen, mean, light.brightness, light.contrast)

    def batches(
        self,
        split: SplitName,
        device: torch.device | str,
        at: ViewSelection = None,
    ) -> Iterator[Batch]:
        """A split in device batches; its pixels go to the device once, however often it is seen.

        Args:
            split: Name of the split.
            device: Where the batches are wanted.
            at: One view for all images (of a grid, or any warp), or a range from which each image
                has a view of its own, always the same one; each image's familiar view if left out.
                Recorded views select images, see `view_rows`.
        """
        place = torch.device(device)
        for stored in self._pass(split, at, place):
            moved = self.transfer_batch_to_device(stored, place, 0)
            yield self.on_after_batch_transfer(moved, 0)

    def view_rows(self, split: SplitName, at: ViewSelection) -> Tensor:
        """Which images of a split are seen at a view, or at the views of a range.

        Those that were recorded so; what the view says nothing of is as in training.

        Args:
            split: Name of the split.
            at: The view or the range.

        Returns:
            (N,) rows in the split.

        Raises:
            UserError: The set does not record it, or has no such image.
        """
        images = self.split(split)
        if at is None:
            return torch.arange(len(images))
        asked = self.familiar_factors
        if not isinstance(at, Views):
            self.require(at)
        if isinstance(at, ViewRange):
            asked |= at.recorded
        if isinstance(at, GridView) and at.recorded:
            asked |= {at.factor: Spread(values=(at.value,))}
        rows = inside(images, asked).nonzero()[:, 0]
        if not len(rows):
            wanted = "; ".join(f"{name} {spread}" for name, spread in asked.items())
            raise UserError(f"no {split} image of {self.identity.name} has {wanted}")
        return rows

    def get_batch(self, split: SplitName, rows: Tensor, at: ViewSelection = None) -> Batch:
        """Some images of a split, on the CPU.

        Args:
            split: Name of the split.
            rows: (B,) which images.
            at: From where they are seen, see `batches`.
        """
        return self.on_after_batch_transfer(self._taker(split, at)(rows), 0)

    def _pass(
        self, name: SplitName, at: ViewSelection, device: torch.device = CPU
    ) -> EvaluationPass:
        rank, world = self._process()
        return EvaluationPass(
            self.view_rows(name, at),
            take=self._taker(name, at, device),
            batch_size=EVALUATION_BATCH,
            rank=rank,
            world=world,
        )

    def _on(self, name: SplitName, device: torch.device) -> Split:
        """A split whose pixels lie on a device; all else, which is small, stays where it is."""
        split = self.split(name)
        if (name, device) not in self._resident:
            self._resident[name, device] = replace(split, images=split.images.to(device))
        return self._resident[name, device]

    def _taker(
        self, name: SplitName, at: ViewSelection, device: torch.device = CPU
    ) -> Callable[[Tensor], StoredBatch]:
        """What makes batches of rows of a split, seen from somewhere."""
        split = self._on(name, device)
        if isinstance(at, GridView | Views):
            one = Views.of_grid([at]) if isinstance(at, GridView) else at
            part = at.part if isinstance(at, GridView) else self.views.part
            return lambda rows: self.make_batch(split[rows], one, part)
        assert self._splits is not None
        moved = ViewRange() if name == "novel" and name in self._splits else self.views
        ranges = moved if at is None else at
        table = "validation" if name == "validation" else "test"
        views = views_by_index(ranges, split.index, "evaluation views", table)
        return lambda rows: self.make_batch(split[rows], views[rows], ranges.part)

    def _process(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size


def require_shares(batch_size: int, processes: int) -> None:
    """Refuse a batch that processes cannot share equally: its gradient would not be the same.

    Raises:
        UserError: ``batch_size`` is no multiple of ``processes``.
    """
    if batch_size % processes:
        raise UserError(
            f"a batch of {batch_size} images cannot be shared equally by {processes} processes; "
            f"set recipe.batch_size to a multiple of {processes}"
        )
