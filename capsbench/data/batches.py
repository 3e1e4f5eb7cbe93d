"""The order in which images are seen: a resumable stream to train on, passes to evaluate on."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from capsbench.data.randomness import generator
from capsbench.viewpoint.views import Views


@dataclass
class StoredBatch:
    """A batch before it is moved and warped.

    Attributes:
        images: (B, C, H, W) uint8.
        targets: (B,) class indices.
        views: The views from which the images are to be seen; they stay on the CPU until the warp.
        index: (B,) each image's number in the source.
    """

    images: Tensor
    targets: Tensor
    views: Views
    index: Tensor


@dataclass(frozen=True)
class Split:
    """The images of one split.

    Attributes:
        images: (N, C, H, W) uint8.
        targets: (N,) class indices.
        index: (N,) each image's number in the source, whatever the split's size.
    """

    images: Tensor
    targets: Tensor
    index: Tensor

    def __getitem__(self, rows: Tensor | slice) -> Split:
        """Some of the images."""
        return Split(self.images[rows], self.targets[rows], self.index[rows])

    def __len__(self) -> int:
        return len(self.targets)


class TrainingStream:
    """An endless stream of global batches, each a function of the seed and its number.

    The images of pass ``e`` stand in the order that ``(seed, e)`` gives; batches are cut from the
    passes laid end to end, so each holds exactly ``batch`` images. Several processes share a batch:
    process ``rank`` takes every ``world``-th image. The position is a state that Lightning saves
    and restores, so that a resumed training goes on with the batch after the last one.

    Args:
        split: The training images.
        batch: Images in a global batch.
        draw: Returns the views of a global batch, given its number.
        seed: Seed of the order.
        rank: Number of this process.
        world: Number of processes.
    """

    def __init__(
        self,
        split: Split,
        *,
        batch: int,
        draw: Callable[[int], Views],
        seed: int,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.split = split
        self.batch = batch
        self.draw = draw
        self.seed = seed
        self.share = slice(rank, None, world)
        self.position = 0

    def __len__(self) -> int:
        """Batches in an epoch: whole batches in one pass over the images, at least one."""
        return max(1, len(self.split) // self.batch)

    def __iter__(self) -> Iterator[StoredBatch]:
        """Yield the rest of the present epoch, the whole one when a new one begins."""
        for _ in range(len(self) - self.position % len(self)):
            number = self.position
            self.position += 1
            yield self[number]

    def __getitem__(self, number: int) -> StoredBatch:
        """This process's share of a global batch."""
        rows = self._rows(number)[self.share]
        share = self.split[rows]
        return StoredBatch(share.images, share.targets, self.draw(number)[self.share], share.index)

    def state_dict(self) -> dict[str, int]:
        """The number of the next batch."""
        return {"position": self.position}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on with the batch at which the state was taken."""
        self.position = state["position"]

    def _rows(self, number: int) -> Tensor:
        count = len(self.split)
        positions = torch.arange(number * self.batch, (number + 1) * self.batch)
        first, last = int(positions[0]) // count, int(positions[-1]) // count
        orders = torch.cat([self._order(epoch) for epoch in range(first, last + 1)])
        return orders[positions - first * count]

    def _order(self, epoch: int) -> Tensor:
        return torch.randperm(len(self.split), generator=generator(self.seed, "order", epoch))


class EvaluationPass:
    """One pass over a split, each image once, shared among processes without padding.

    Every process gets the same number of batches (their sizes differ by one at the most), so that
    no process waits for another's collective call.

    Args:
        split: The images.
        views: One view per image, or one for all.
        batch: The most images in a batch.
        rank: Number of this process.
        world: Number of processes.
    """

    def __init__(
        self, split: Split, views: Views, *, batch: int, rank: int = 0, world: int = 1
    ) -> None:
        self.split = split
        self.views = views
        per_process = math.ceil(len(split) / world)
        self.pieces = math.ceil(per_process / batch) * world
        self.share = slice(rank, None, world)

    def __len__(self) -> int:
        """Batches of this process."""
        return len(self._pieces())

    def __iter__(self) -> Iterator[StoredBatch]:
        """Yield this process's batches."""
        for rows in self._pieces():
            piece = self.split[rows]
            views = self.views if len(self.views) == 1 else self.views[rows]
            yield StoredBatch(piece.images, piece.targets, views, piece.index)

    def _pieces(self) -> tuple[Tensor, ...]:
        rows = torch.arange(len(self.split))
        return torch.tensor_split(rows, self.pieces)[self.share]
