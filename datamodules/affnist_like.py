"""affNIST-like: MNIST on a larger canvas, tested on affine transforms of its test digits."""

from __future__ import annotations

from typing import Annotated, Any, ClassVar

import torch
from pydantic import Field

from capsbench.arguments import Positive
from capsbench.data.batches import Split, SplitName
from capsbench.data.images import Identity
from capsbench.datamodules import _affine_digits as affine
from capsbench.datamodules.mnist import MNIST

AffineCanvas = Annotated[int, Field(ge=affine.SIDE)]


class AffNISTLike(MNIST):
    """MNIST on a canvas of 40 x 40; ``novel`` are affine transforms of its test digits, seeded.

    Trained on, validated on and tested as ``familiar`` is MNIST as in the data set ``mnist``; the
    views of Sabour et al. (2017) are ``views.shift: {start: -6, stop: 6, step: 1}``. ``novel`` is
    made like affNIST's test images, whose ranges are known from memory only: rotation within 20
    degrees, shear within 0.2, horizontal and vertical scale independent within 0.8 to 1.2, and any
    place at which all ink is on the canvas, each uniform. Each image is interpolated once,
    bilinearly, from the 28 x 28 original, and is a function of the digit's number alone.

    Args:
        copies: Transforms of each test digit; affNIST has 32. Fewer are a subset of more.
        canvas: Side of the images, in pixels.
        kwargs: See `ImageDataModule`.

    Source: the construction of T. Tieleman, affNIST, https://www.cs.toronto.edu/~tijmen/affNIST/.
    """

    identity = Identity("affnist-like", "1", MNIST.identity.checksum)
    image_shape = (1, affine.SIDE, affine.SIDE)
    source: ClassVar[str] = (
        "made from MNIST as affNIST (Tieleman) is, with ranges that are known from memory only; "
        "MNIST's four IDX files under <data root>/MNIST/raw"
    )

    def __init__(
        self, *, copies: Positive = 1, canvas: AffineCanvas = affine.SIDE, **kwargs: Any
    ) -> None:
        super().__init__(canvas=canvas, **kwargs)
        self.copies = copies

    def load(self) -> dict[SplitName, Split]:
        """Read MNIST and transform its test digits."""
        splits = super().load()
        digits = splits["test"]
        made = [
            affine.transform(digits.images, transforms(len(digits), copy))
            for copy in range(self.copies)
        ]
        count = len(digits) * self.copies
        novel = Split(torch.cat(made), digits.targets.repeat(self.copies), torch.arange(count))
        return {**splits, "novel": novel}


def transforms(count: int, copy: int = 0) -> affine.Transforms:
    """Return transforms of MNIST's first test digits.

    Args:
        count: Number of digits; a digit's transform does not depend on it.
        copy: Index of the transform among those of each digit.
    """
    return affine.draw(count, "affnist-like", "transforms", copy)
