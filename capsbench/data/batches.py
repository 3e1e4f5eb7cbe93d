"""The order in which images are seen: a resumable stream to train on, passes to evaluate on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Self

import torch
from torch import Tensor

from capsbench.data.randomness import generator
from capsbench.viewpoint.views import Views


@dataclass
class StoredBatch:
    """A batch before it is moved and warped.

    Attributes:
        images: (B, C, H, W) uint8.
        targets: (B,) class indices, or (B, K) multi-hot where an image holds several objects.
        views: The views from which the images are to be seen; they stay on the CPU until the warp.
        index: (B,) each image's number in the source.
        masks: (B, 1, H, W) uint8, 1 where the object is that moves; None where all moves.
        poses: The recorded poses, if any.
    """

    images: Tensor
    targets: Tensor
    views: Views
    index: Tensor
    masks: Tensor | None = None
    poses: Tensor | None = None


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        images: (N, C, H, W) uint8.
        targets: (N,) class indices.
        index: (N,) each image's number in the source, whatever the split's size.
        factors: (N,) by name, how each object stood: azimuth, elevation, lighting, instance, ...
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
        """Some of the images."""
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

    The images of pass ``e`` stand in the order that ``(seed, e)`` gives; batches are cut from the
    passes laid end to end, so each holds exactly ``batch_size`` images. Several processes share
    one: process ``rank`` takes every ``world``-th image. The position is a state that Lightning saves
    and restores, so that a resumed training goes on with the batch after the last one.

    Args:
        count: Number of training images.
        batch_size: Images in a global batch.
        take: Returns a share of a batch, given the batch's number, the rows of all of its images
            and which of these are wanted.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes.
    """

    def __init__(
        self,
        count: int,
        *,
        batch_size: int,
        take: Callable[[int, Tensor, slice], StoredBatch],
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.count = count
        self.batch_size = batch_size
        self.take = take
        self.seed = seed
        self.share = slice(rank, None, world)
        self.position = 0
        self._orders: dict[int, Tensor] = {}

    def __len__(self) -> int:
        """Batches in an epoch: whole batches in one pass over the images, at least one."""
        return max(1, self.count // self.batch_size)

    def __iter__(self) -> Iterator[StoredBatch]:
        """Yield the rest of the present epoch, the whole one when a new one begins."""
        for _ in range(len(self) - self.position % len(self)):
            number = self.position
            self.position += 1
            yield self[number]

    def __getitem__(self, number: int) -> StoredBatch:
        """This process's share of a global batch."""
        return self.take(number, self._rows(number), self.share)

    def state_dict(self) -> dict[str, int]:
        """The number of the next batch."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with the batch at which the state was taken."""
        self.position = state["position"]

    def _rows(self, number: int) -> Tensor:
        positions = torch.arange(number * self.batch_size, (number + 1) * self.batch_size)
        first, last = int(positions[0]) // self.count, int(positions[-1]) // self.count
        # The orders of the passes that this batch has a part in; the next one mostly has the same.
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
        rows: (N,) which images.
        take: Returns the batch of some rows.
        batch_size: The most images in a batch.
        rank: Number of this process.
        world: Number of processes.
    """

    def __init__(
        self,
        rows: Tensor,
        *,
        take: Callable[[Tensor], StoredBatch],
        batch_size: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.rows = rows
        self.take = take
        per_process = math.ceil(len(rows) / world)
        self.pieces = math.ceil(per_process / batch_size) * world
        self.share = slice(rank, None, world)

    def __len__(self) -> int:
        """Batches of this process."""
        return len(self._pieces())

    def __iter__(self) -> Iterator[StoredBatch]:
        """Yield this process's batches."""
        return map(self.take, self._pieces())

    def _pieces(self) -> tuple[Tensor, ...]:
        return torch.tensor_split(self.rows, self.pieces)[self.share]
