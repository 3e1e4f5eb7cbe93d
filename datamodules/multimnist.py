"""MultiMNIST: two overlapping digits of different classes, composed on the model's device."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal, Self

import torch
from pydantic import Field
from torch import Generator, Tensor

from capsbench.arguments import Positive
from capsbench.contracts import Batch
from capsbench.data.augmentation import AugmentationOperation
from capsbench.data.batches import Split, SplitName, StoredBatch
from capsbench.data.images import Identity
from capsbench.data.randomness import draw_views, generator
from capsbench.datamodules.mnist import MNIST
from capsbench.errors import UserError
from capsbench.viewpoint.part import Part
from capsbench.viewpoint.render import render
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

SIDE = 36  # of the canvas, pixels

PairCanvas = Annotated[int, Field(ge=SIDE)]


@dataclass(frozen=True, kw_only=True)
class Pairs(Split):
    """Digits with a partner each: ``images`` are (N, 2, H, W), ``targets`` the first one's classes.

    Attributes:
        partners: (N,) classes of the second digits.
        shifts: (N, 2, 2) whole pixels, x and y of the first and of the second digit.
    """

    partners: Tensor
    shifts: Tensor

    def __getitem__(self, rows: Tensor | slice) -> Self:
        """Return some of the pairs."""
        selected = super().__getitem__(rows)
        return replace(selected, partners=self.partners[rows], shifts=self.shifts[rows])


@dataclass(kw_only=True)
class PairBatch(StoredBatch):
    """A batch of pairs, ``targets`` multi-hot, before the digits are laid over each other.

    Attributes:
        shifts: (B, 2, 2) whole pixels, x and y of each digit; they stay on the CPU like the views.
    """

    shifts: Tensor


class MultiMNIST(MNIST):
    """Two MNIST digits of different classes on a canvas of 36 x 36, added and clipped.

    Each digit is shifted by whole pixels, up to ``shift`` in x and in y. Training pairs are new in
    each batch: each digit's partner is any other training digit of another class. Validation and
    test have fixed pairs within the split, from a table by the digit's number. The views of the
    protocol move both digits together. Two conventions differ: the paper shifts by up to 4 pixels,
    its authors' command by up to 6; and the paper counts an image as correct if both digits
    are (``accuracy``), while others count digits (``object_accuracy``).

    Args:
        shift: Largest shift, in pixels.
        pairs: Test pairs for each digit; the authors have 1,000. Each takes 16 MB of memory for the
            10,000 digits. Fewer pairs are a subset of more.
        canvas: Side of the images, in pixels.
        kwargs: See `ImageDataModule`.

    Source: S. Sabour, N. Frosst, G. Hinton, Dynamic Routing Between Capsules (2017), section 6.
    """

    identity = Identity("multimnist", "1", MNIST.identity.checksum)
    turned_alike: ClassVar[tuple[tuple[int, ...], ...]] = ()  # two digits that are never turned
    image_shape = (1, SIDE, SIDE)
    source: ClassVar[str] = (
        "made from MNIST as in Sabour, Frosst, Hinton 2017, section 6; MNIST's four IDX files "
        "under <data root>/MNIST/raw"
    )

    def __init__(
        self,
        *,
        shift: Literal[4, 6] = 4,
        pairs: Positive = 1,
        canvas: PairCanvas = SIDE,
        **kwargs: Any,
    ) -> None:
        super().__init__(canvas=canvas, **kwargs)
        self.require_augmentation(self.augmentation)
        self.shift = shift
        self.pairs = pairs

    def require_augmentation(self, operations: tuple[AugmentationOperation, ...]) -> None:
        """Refuse every augmentation: the digits alone, which decoders draw, would not match."""
        if operations:
            raise UserError(
                "multimnist has images of several objects, which are not augmented; leave "
                "recipe.augmentation empty, and use views"
            )

    def subset(self, name: SplitName, split: Split) -> Split:
        """Give each digit its partners; training digits get new ones in each batch.

        Training and validation partners are among the digits that are kept. Test pairs are the
        same, however many of them are used.
        """
        if name == "test":
            return super().subset(name, self._table(split, name))
        return self._table(super().subset(name, split), name)

    def make_training_batch(self, number: int, rows: Tensor, share: slice) -> StoredBatch:
        """Return a share of a training batch, with partners from all training digits."""
        views = draw_views(self.views, len(rows), self.seed, "views", number)
        pairs = self._paired(self._training, rows, generator(self.seed, "pairs", number))
        return self.make_batch(pairs[share], views[share], self.views.part)

    def make_batch(self, images: Split, views: Views, part: Part) -> StoredBatch:
        """Return pairs with the views from which they will be seen, digits in order of class."""
        assert isinstance(images, Pairs)
        classes, order = torch.stack([images.targets, images.partners], dim=1).sort(dim=1)
        each = torch.arange(len(images))[:, None]
        targets = torch.zeros(len(images), self.num_classes, dtype=torch.long)
        return PairBatch(
            images.images[each, order],
            targets.scatter_(1, classes, 1),
            views,
            images.index,
            shifts=images.shifts[each, order],
        )

    def render_batch(self, batch: StoredBatch) -> Batch:
        """Lay the digits over each other and warp them to their views, on the device."""
        assert isinstance(batch, PairBatch)
        digits = batch.images.float().div_(255).flatten(0, 1)[:, None]
        placed = replace(Views.identity(len(digits)), shift=batch.shifts.flatten(0, 1).double())
        _, height, width = self.image_shape
        moved = warp(digits, placed.matrices(*digits.shape[-2:]), (height, width))
        alone = moved.view(-1, 2, height, width)
        overlay = alone.sum(dim=1, keepdim=True).clamp_(max=1)
        images = torch.cat([overlay, alone], dim=1)
        images = render(images, batch.views, (height, width), padding=self.padding)
        views, objects = batch.views.to(images), images[:, 1:, None]
        return Batch(images[:, :1], batch.targets, views, batch.index, objects=objects)

    @cached_property
    def _training(self) -> _Digits:
        train = self.split("train")
        return _Digits(Split(train.images[:, :1], train.targets, train.index))

    def _table(self, digits: Split, name: SplitName) -> Pairs:
        """Return each digit with partners among the others, independent of the training's seed."""
        among, rows = _Digits(digits), torch.arange(len(digits))
        tables = [
            self._paired(among, rows, generator("multimnist", name, number))
            for number in range(self.pairs if name == "test" else 1)
        ]
        return Pairs(
            torch.cat([table.images for table in tables]),
            torch.cat([table.targets for table in tables]),
            torch.cat([n * len(digits) + table.index for n, table in enumerate(tables)]),
            partners=torch.cat([table.partners for table in tables]),
            shifts=torch.cat([table.shifts for table in tables]),
        )

    def _paired(self, among: _Digits, rows: Tensor, draws: Generator) -> Pairs:
        """Return some digits, each with a partner and shifts."""
        unit = torch.rand(len(rows), 5, generator=draws, dtype=torch.float64)
        digits, partners = among.split[rows], among.split[among.others(rows, unit[:, 0])]
        steps = 2 * self.shift + 1
        return Pairs(
            torch.cat([digits.images, partners.images], dim=1),
            digits.targets,
            digits.index,
            partners=partners.targets,
            shifts=(unit[:, 1:] * steps).long().sub_(self.shift).unflatten(1, (2, 2)),
        )


class _Digits:
    """Digits from which partners are drawn.

    Args:
        split: The digits.

    Raises:
        UserError: All are of one class.
    """

    def __init__(self, split: Split) -> None:
        self.split = split
        self.order = split.targets.argsort(stable=True)
        self.counts = torch.bincount(split.targets)
        self.starts = self.counts.cumsum(0) - self.counts
        if self.counts.max() == len(split):
            raise UserError(
                "multimnist pairs digits of different classes, but all are of one; use more images"
            )

    def others(self, rows: Tensor, unit: Tensor) -> Tensor:
        """Return digits of other classes than those of some rows.

        Args:
            rows: (B,) rows of digits.
            unit: (B,) in [0, 1); every digit of another class has the same share of the interval.

        Returns:
            (B,) rows.
        """
        classes = self.split.targets[rows]
        own = self.counts[classes]
        position = (unit * (len(self.order) - own)).long()
        return self.order[position + own * (position >= self.starts[classes])]
