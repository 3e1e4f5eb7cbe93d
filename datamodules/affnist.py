"""affNIST: MNIST on a larger canvas, tested on official affine transforms of its test digits."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from capsbench.arguments import Positive
from capsbench.data.batches import Split, SplitName
from capsbench.data.images import Identity
from capsbench.datamodules import _affine_digits as affine
from capsbench.datamodules import _affnist_files as files
from capsbench.datamodules.affnist_like import AffineCanvas
from capsbench.datamodules.mnist import MNIST
from capsbench.errors import UserError
from capsbench.files.content import damaged
from capsbench.files.download import fetch
from capsbench.files.remote import RemoteFile

TRANSFORMS = "human_readable_transform"


class AffNIST(MNIST):
    """MNIST on a canvas of 40 x 40; ``novel`` are affNIST's official 320,000 test images.

    Trained on, validated on and tested as ``familiar`` is MNIST as in the data set ``mnist``; the
    views of Sabour et al. (2017) are ``views.shift: {start: -6, stop: 6, step: 1}``. The official
    images are read from one of ``test.mat``, ``test.mat.zip``, ``test_batches`` (a folder) and
    ``test_batches.zip`` under ``<data root>/affNIST``; if there is none, ``test.mat.zip`` is
    downloaded. No checksum of them has been published. Their structure is checked instead, and that
    all digits of MNIST's test occur equally often; `notes` has the SHA-256.

    Args:
        copies: Number of transforms of each digit; all (32) if left out.
        canvas: Side of the images, in pixels.
        kwargs: See `ImageDataModule`.

    Source: T. Tieleman, affNIST, https://www.cs.toronto.edu/~tijmen/affNIST/.
    """

    identity = Identity("affnist", "1", MNIST.identity.checksum)
    image_shape = (1, affine.SIDE, affine.SIDE)
    source: ClassVar[str] = (
        "Tieleman, affNIST; its test images under <data root>/affNIST, and MNIST's four IDX files "
        "under <data root>/MNIST/raw"
    )
    remote_test: ClassVar[RemoteFile] = files.REMOTE

    def __init__(
        self, *, copies: Positive | None = None, canvas: AffineCanvas = affine.SIDE, **kwargs: Any
    ) -> None:
        super().__init__(canvas=canvas, **kwargs)
        self.copies = copies
        # Set when the images are loaded.
        self.ranges: affine.RangeCheck | None = None
        self.file: str | None = None

    def prepare_data(self) -> None:
        """Download what is missing; Lightning calls this in one process."""
        super().prepare_data()
        if files.find_official(self.data_root) is None:
            fetch([self.remote_test], files.folder(self.data_root), data_set="affNIST")

    def load(self) -> dict[SplitName, Split]:
        """Read MNIST and affNIST's test images.

        Afterwards `notes` has the file's SHA-256, and the comparison of the transforms stored in it
        with the ranges of the data module ``affnist-like``.
        """
        splits = super().load()
        path = files.find_official(self.data_root)
        assert path is not None  # it has just been downloaded if it was missing
        self.file = files.with_checksum(path)
        fields = files.read_fields(path)
        if TRANSFORMS in fields:
            self.ranges = affine.check_ranges(fields[TRANSFORMS])
        rows = self._rows(path, fields, splits["test"].targets.numpy())
        images, labels = fields["image"], fields["label_int"]
        novel = Split(
            torch.from_numpy(images[rows])[:, None],
            torch.from_numpy(labels[rows]),
            torch.arange(len(rows)),
        )
        return {**splits, "novel": novel}

    def _rows(
        self, path: Path, fields: files.Fields, digits: NDArray[np.int64]
    ) -> NDArray[np.int64]:
        """Return the rows of the images: the first transform of each digit, then the second, ..."""
        labels = fields["label_int"]
        copies, rest = divmod(len(labels), len(digits))
        classes = np.bincount(digits, minlength=self.num_classes)
        if not copies or rest or (np.bincount(labels, minlength=10) != copies * classes).any():
            expected = f"each of MNIST's {len(digits)} test digits equally often"
            raise damaged(path, expected, f"{len(labels)} images of other classes")
        originals = _originals(fields, digits)
        if originals is not None:
            by_digit = np.argsort(originals, kind="stable").reshape(len(digits), copies)
            return by_digit.T[: self.copies].ravel()
        if self.copies is not None:
            raise UserError(
                f"{path} does not say from which digit each image was made: leave copies out"
            )
        return np.arange(len(labels))

    @property
    def notes(self) -> list[str]:
        """The file with its SHA-256; its transforms compared with the ranges of affnist-like."""
        notes = [self.file, None if self.ranges is None else self.ranges.message]
        return [note for note in notes if note is not None]

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line that says if MNIST's files and affNIST's test images are there."""
        path = files.find_official(data_root)
        if path is None:
            line = f"test images not found; downloaded when needed, or put {files.REMOTE.name} in "
            line += str(files.folder(data_root))
        else:
            line = f"test images found in {files.with_checksum(path)}"
        return f"{line}; MNIST {super().availability(data_root)}"


def _originals(fields: files.Fields, digits: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """Return (N,), the number of the MNIST test digit of each image; None if it is not known.

    Neither the order of the official images nor a field with these numbers is documented. Every
    column that can hold the digits' numbers is therefore compared with the labels.
    """
    labels = fields["label_int"]
    numbers = np.arange(len(labels))
    copies = len(labels) // len(digits)
    candidates = [numbers % len(digits), numbers // copies]
    columns = [
        values.ravel()
        for values in fields.values()
        if values.size == len(labels) and np.isfinite(values).all()
    ]
    candidates += [values.astype(np.int64) - 1 for values in columns]  # MATLAB counts from 1
    for rows in candidates:
        inside = rows.min() >= 0 and rows.max() < len(digits)
        if inside and (digits[rows] == labels).all() and (np.bincount(rows) == copies).all():
            return rows
    return None
