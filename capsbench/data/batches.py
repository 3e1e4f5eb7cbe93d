"""Batches and their order: a resumable stream for training, single passes for evaluation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Literal, Self

import torch
from torch import Tensor

from capsbench.data.randomness import generator
from capsbench.viewpoint.views import Views

SplitName = Literal["train", "validation", "test", "familiar", "novel", "rearranged"]


@dataclass
class StoredBatch:
    """A batch before it is moved and warped.

    Attributes:
        images: (B, C, H, W) uint8.
        targets: (B,) class indices, or (B, K) multi-hot where an image holds several objects.
        views: The views from which the images will be seen; they stay on the CPU until the warp.
        index: (B,) each image's number in the source.
        masks: (B, 1, H, W) uint8, 1 where the object is that moves; None if the whole image moves.
        poses: The recorded poses, if any.
        augmentation: Number of the training batch and the share of it to keep, for a whole batch
            that is to be augmented; None for a batch without augmentation.
    """

    images: Tensor
    targets: Tensor
    views: Views
    index: Tensor
    masks: Tensor | None = None
    poses: Tensor | None = None
    augmentation: tuple[int, slice] | None = None

    def to(self, device: torch.device | str) -> Self:
        """Move the images; the views stay, since the warp asks the CPU which of them are exact."""
        move = partial(torch.Tensor.to, device=device, non_blocking=True)
        return replace(
            self,
            images=move(self.images),
            targets=move(self.targets),
            index=move(self.index),
            masks=None if self.masks is None else move(self.masks),
            poses=None if self.poses is None else move(self.poses),
        )


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        images: (N, C, H, W) uint8.
        targets: (N,) class indices.
        index: (N,) each image's number in the source, for any size of the split.
        factors: (N,) by name, the recorded view: azimuth, elevation, lighting, instance, ...
        masks: (N, 1, H, W) uint8, 1 where the object is, if the data knows.
        poses: (N, ...) the exact poses, if the data knows.
    """

    images: Tensor
    targets: Tensor
    index: Tensor
    factors: Mapping[str, Tensor] = field(default_factory=dict)
    masks: Tensor | None = None
    poses: Tensor | None = None

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """Return some of the images."""
        return replace(
            self,
            images=self.images[rows],
            targets=self.targets[rows],
            index=self.index[rows],
            factors={name: values[rows] for name, values in self.factors.items()},
            masks=None if self.masks is None else self.masks[rows],
            poses=None if self.poses is None else self.poses[rows],
        )

    def __len__(self) -> int:
        return len(self.targets)


class TrainingStream:
    """An endless stream of global batches, each a function of the seed and its number.

    The order of pass ``e`` is a function of ``(seed, e)``. Batches are consecutive parts of the
    concatenated passes, each of exactly ``batch_size`` images. Several processes share a batch:
    process ``rank`` takes every ``world``-th image. Lightning saves and restores the position, so
    that a resumed training continues with the next batch.

    Args:
        count: Number of training images.
        batch_size: Images in a global batch.
        make_batch: Returns a share of a batch, from the batch's number, the rows of all of its
            images, and the slice of them that is this process's.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes.
        limit: Number of batches that the Trainer uses in an epoch, or their share as a float.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        make_batch: Callable[[int, Tensor, slice], StoredBatch],
        seed: int,
        rank: int = 0,
        world: int = 1,
        limit: float = 1.0,
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self.make_batch = make_batch
        self.seed = seed
        self.share = slice(rank, None, world)
        used = min(limit, len(self)) if isinstance(limit, int) else int(limit * len(self))
        self.epoch = max(1, used)
        self.position = 0
        self._orders: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Number of batches in an epoch: whole batches in one pass over the images, or one."""
        return max(1, self.count // self.batch_size)

    def __iter__(self) -> Iterator[StoredBatch]:
        """Yield the rest of the current epoch, or a whole one after it has ended."""
        for _ in range(self.epoch - self.position % self.epoch):
            number = self.position
            self.position += 1
            yield self[number]

    def __getitem__(self, number: int) -> StoredBatch:
        """Return this process's share of a global batch."""
        return self.make_batch(number, self._rows(number), self.share)

    def state_dict(self) -> dict[str, int]:
        """Return the number of the next batch."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Continue with the batch at which the state was taken."""
        self.position = state["position"]

    def _rows(self, number: int) -> Tensor:
        positions = torch.arange(number * self.batch_size, (number + 1) * self.batch_size)
        first, last = int(positions[0]) // self.count, int(positions[-1]) // self.count
        # Keep the orders of this batch's passes: the next batch mostly needs the same.
        self._orders = {
            epoch: self._orders[epoch] if epoch in self._orders else self._order(epoch)
            for epoch in range(first, last + 1)
        }
        orders = torch.cat(list(self._orders.values())) if last > first else self._orders[first]
        return orders[positions - first * self.count]

    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(self.count, generator=generator(self.seed, "order", epoch))


class EvaluationPass:
    """One pass over images, each once, shared among processes without padding.

    Every process gets the same number of batches (their sizes differ by one at the most), so that
    no process waits for another's collective call.

    Args:
        rows: (N,) rows of the images.
        make_batch: Returns the batch of some rows.
        batch_size: The most images in a batch.
        rank: Number of this process.
        world: Number of processes.
    """

    def __init__(
        self,
        rows: Tensor,
        *,
        make_batch: Callable[[Tensor], StoredBatch],
        batch_size: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rows = rows
        self.make_batch = make_batch
        per_process = math.ceil(len(rows) / world)
        self.num_batches = math.ceil(per_process / batch_size) * world
        self.share = slice(rank, None, world)

    def __len__(self) -> int:
        """Number of batches of this process."""
        return len(self._batch_rows())

    def __iter__(self) -> Iterator[StoredBatch]:
        """Yield this process's batches."""
        return map(self.make_batch, self._batch_rows())

    def _batch_rows(self) -> tuple[Tensor, ...]:
        return torch.tensor_split(self.rows, self.num_batches)[self.share]
