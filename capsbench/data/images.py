"""The data module of warped images: uint8 in memory, made float and warped on the device."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar, Literal, TypedDict

import torch
from pytorch_lightning import LightningDataModule

from capsbench.contracts import Batch, ImageShape
from capsbench.data.batches import EvaluationPass, Split, StoredBatch, TrainingStream
from capsbench.data.randomness import generator, views_by_index
from capsbench.data.splits import balanced_order
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import GridView, ViewRange
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

SplitName = Literal["train", "validation", "test"]
EVALUATION_BATCH = 100  # larger ones are slower on a CPU, where activations leave the cache


class Identity(TypedDict):
    """What makes a data set the one that it is; part of a training's fingerprint."""

    name: str
    version: str
    checksum: str


class ImageData(LightningDataModule, ABC):
    """Images with class labels, seen from views that the framework chooses.

    A data set is a subclass that names itself and says how its splits are loaded. No worker process
    is needed: batches are gathered by index from memory and warped where the model is.

    Args:
        views: The views of the training and validation images.
        batch: Images in a training batch, over all processes together.
        seed: Seed of the order and the views of training. Splits, and the views of the validation
            images, do not depend on it.
        limit: Use at most this many images of each split, the classes in near-equal numbers.
        data_root: Folder of data files at hand.
    """

    identity: ClassVar[Identity]
    image_shape: ClassVar[ImageShape]
    num_classes: ClassVar[int]
    source: ClassVar[str]

    def __init__(
        self,
        *,
        views: ViewRange | None = None,
        batch: int = 64,
        seed: int = 0,
        limit: int | None = None,
        data_root: Path | str | None = None,
    ) -> None:
        super().__init__()
        self.views = views or ViewRange()
        self.batch = batch
        self.seed = seed
        self.limit = limit
        self.data_root = Path("data" if data_root is None else data_root)
        self._splits: dict[SplitName, Split] | None = None

    @abstractmethod
    def load(self) -> dict[SplitName, Split]:
        """Read the set and divide it; a function of the files alone.

        Raises:
            UserError: A file is missing or damaged.
        """

    @classmethod
    @abstractmethod
    def found(cls, data_root: Path) -> str:
        """In one line, whether the files are at hand under a folder, and what to do if not."""

    def split(self, name: SplitName) -> Split:
        """The images of a split, cut to the limit."""
        if self._splits is None:
            self._splits = {key: self._cut(key, split) for key, split in self.load().items()}
        return self._splits[name]

    def setup(self, stage: str) -> None:
        """Load the set; Lightning calls this in every process."""
        self.split("train")

    def train_dataloader(self) -> TrainingStream:
        """The stream of training batches; this process's share where there are several."""
        rank, world = self._process()
        require_shares(self.batch, world)
        return TrainingStream(
            self.split("train"),
            batch=self.batch,
            draw=lambda number: Views.draw(
                self.views, self.batch, generator(self.seed, "views", number)
            ),
            seed=self.seed,
            rank=rank,
            world=world,
        )

    def val_dataloader(self) -> EvaluationPass:
        """The validation images, each from the same familiar view in every run."""
        return self._pass("validation")

    def test_dataloader(self) -> EvaluationPass:
        """The test images, each from the same familiar view in every run."""
        return self._pass("test")

    def transfer_batch_to_device(
        self, batch: StoredBatch, device: torch.device, dataloader_idx: int
    ) -> StoredBatch:
        """Move the images; the views stay, since the warp asks the CPU which of them are exact."""
        return StoredBatch(
            batch.images.to(device, non_blocking=True),
            batch.targets.to(device, non_blocking=True),
            batch.views,
            batch.index.to(device, non_blocking=True),
        )

    def on_after_batch_transfer(self, batch: StoredBatch, dataloader_idx: int) -> Batch:
        """Make images float in [0, 1] and warp them, on the device where they are."""
        images = batch.images.float().div_(255)
        matrices = batch.views.matrices(*images.shape[-2:])
        seen = warp(images, matrices)
        return Batch(seen, batch.targets, batch.views.to(images), batch.index)

    def batches(
        self, split: SplitName, device: torch.device | str, view: GridView | None = None
    ) -> Iterator[Batch]:
        """A split in device batches.

        Args:
            split: Name of the split.
            device: Where the batches are wanted.
            view: One view for all images; each image's own familiar view if left out.
        """
        views = None if view is None else Views.of_grid([view])
        for stored in self._pass(split, views):
            moved = self.transfer_batch_to_device(stored, torch.device(device), 0)
            yield self.on_after_batch_transfer(moved, 0)

    def _pass(self, name: SplitName, views: Views | None = None) -> EvaluationPass:
        split = self.split(name)
        rank, world = self._process()
        if views is None:
            views = views_by_index(self.views, split.index, "evaluation views", name)
        return EvaluationPass(split, views, batch=EVALUATION_BATCH, rank=rank, world=world)

    def _process(self) -> tuple[int, int]:
        if self.trainer is None:
            return 0, 1
        return self.trainer.global_rank, self.trainer.world_size

    def _cut(self, name: SplitName, split: Split) -> Split:
        if self.limit is None or self.limit >= len(split):
            return split
        return split[balanced_order(split.targets, "limit", name)[: self.limit].sort().values]


def require_shares(batch: int, processes: int) -> None:
    """Refuse a batch that processes cannot share equally: its gradient would not be the same.

    Raises:
        UserError: ``batch`` is no multiple of ``processes``.
    """
    if batch % processes:
        raise UserError(
            f"a batch of {batch} images cannot be shared equally by {processes} processes; "
            f"set recipe.batch to a multiple of {processes}"
        )
