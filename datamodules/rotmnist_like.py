"""RotMNIST-like: few MNIST digits, each turned once by an angle of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import ClassVar

import torch
from torch import Tensor

from capsbench.data.batches import Split, SplitName
from capsbench.data.images import Identity
from capsbench.data.randomness import generator
from capsbench.data.splits import hold_out
from capsbench.datamodules.mnist import MNIST
from capsbench.viewpoint.views import Views
from capsbench.viewpoint.warp import warp

USED_SHARE = 1 / 5  # 12,000 of 60,000 digits
VALIDATION_SHARE = 1 / 6  # 2,000 of these
CHUNK = 1000  # images per warp


class RotMNISTLike(MNIST):
    """MNIST digits, each turned by one angle from the full circle: 10,000 to train on.

    It is made like rotated MNIST (Larochelle et al. 2007), which has 12,000 digits for training and
    validation, and 50,000 to test. Here 2,000 of the 12,000 are for validation, and the test has
    MNIST's 10,000 test digits, which are none of the others. The angle of a digit is a function of
    its number in MNIST's files. It is uniform, and is drawn once, so that a network never sees a
    digit from another angle. Each image is interpolated once, bilinearly. A 6 or 9 upside down
    keeps its class.

    Args:
        kwargs: See `ImageDataModule`.

    Source: the construction of Larochelle, Erhan, Courville, Bergstra, Bengio, 'An Empirical
    Evaluation of Deep Architectures on Problems with Many Factors of Variation' (ICML 2007).
    """

    identity = Identity("rotmnist-like", "1", MNIST.identity.checksum)
    turned_alike: ClassVar[tuple[tuple[int, ...], ...]] = ()  # angles are no views here
    source: ClassVar[str] = (
        "made from MNIST as rotated MNIST (Larochelle et al. 2007) is; MNIST's four IDX files "
        "under <data root>/MNIST/raw"
    )

    def load(self) -> dict[SplitName, Split]:
        """Read MNIST, choose its digits and turn them."""
        self.prepare_data()
        every, test = self.read("train"), self.read("t10k")
        _, used = hold_out(every.targets, USED_SHARE, "rotmnist-like", "digits")
        train, validation = hold_out(
            every.targets[used], VALIDATION_SHARE, "rotmnist-like", "validation"
        )
        return {
            "train": _turned(every[used[train]], "train"),
            "validation": _turned(every[used[validation]], "train"),
            "test": _turned(test, "test"),
        }


def angles(index: Tensor, file: str) -> Tensor:
    """Return the angles of digits, in degrees counter-clockwise.

    Args:
        index: (N,) numbers of the digits in their file.
        file: ``train`` or ``test``.
    """
    table = torch.rand(60_000, generator=generator("rotmnist-like", file), dtype=torch.float64)
    return 360 * table[index]


def _turned(split: Split, file: str) -> Split:
    """Turn the images of a split; double precision gives every machine the same rounded images."""
    rotation = angles(split.index, file)
    views = replace(Views.identity(len(rotation)), rotation=rotation)
    matrices = views.matrices(*split.images.shape[-2:])
    parts = zip(split.images.split(CHUNK), matrices.split(CHUNK), strict=True)
    turned = [warp(images.double(), turns).round().to(torch.uint8) for images, turns in parts]
    return replace(split, images=torch.cat(turned))
