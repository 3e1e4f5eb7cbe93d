"""affNIST: MNIST on a larger canvas, tested on official affine transforms of its test digits."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray

from capsbench.arguments import Positive
from capsbench.data.batches import Split
from capsbench.data.images import Identity, SplitName
from capsbench.datamodules import _affine_digits as affine
from capsbench.datamodules.affnist_like import AffineCanvas
from capsbench.datamodules.mnist import MNIST
from capsbench.errors import UserError
from capsbench.files.archives import zip_members
from capsbench.files.content import Content, damaged, opened, read, stream_sha256
from capsbench.files.download import fetch
from capsbench.files.remote import RemoteFile
from capsbench.formats.matlab import read_affnist

# Nobody has published checksums of affNIST's files: their structure is checked instead.
REMOTE = RemoteFile(
    "test.mat.zip",
    None,
    None,
    tuple(
        f"{scheme}://www.cs.toronto.edu/~tijmen/affNIST/32x/transformed/test.mat.zip"
        for scheme in ("https", "http")
    ),
)
Fields = dict[str, NDArray[Any]]

TRANSFORMS = "human_readable_transform"


class AffNIST(MNIST):
    """MNIST on a canvas of 40 x 40; ``novel`` are affNIST's official 320,000 test images.

    Trained on, validated on and tested as ``familiar`` is MNIST as in the data module `mnist`; the
    views of Sabour et al. (2017) are ``views.shift: {start: -6, stop: 6, step: 1}``. The official
    images are read from one of ``test.mat``, ``test.mat.zip``, ``test_batches`` (a folder) and
    ``test_batches.zip`` under ``<data root>/affNIST``; if there is none, ``test.mat.zip`` is
    downloaded. No checksum of them has been published: the structure is checked, and that all
    digits of MNIST's test are there equally often; `found` tells the SHA-256.

    Args:
        copies: Take so many of the transforms of each digit; all (32) if left out.
        canvas: Pixels of the shown images' side.
        kwargs: See `ImageData`.

    Source: T. Tieleman, affNIST, https://www.cs.toronto.edu/~tijmen/affNIST/.
    """

    identity = Identity("affnist", "1", MNIST.identity.checksum)
    image_shape = (1, affine.SIDE, affine.SIDE)
    source: ClassVar[str] = (
        "Tieleman, affNIST; its test images under <data root>/affNIST, and MNIST's four IDX files "
        "under <data root>/MNIST/raw"
    )
    remote_test: ClassVar[RemoteFile] = REMOTE

    def __init__(
        self, *, copies: Positive | None = None, canvas: AffineCanvas = affine.SIDE, **kwargs: Any
    ) -> None:
        super().__init__(canvas=canvas, **kwargs)
        self.copies = copies
        self.ranges: affine.RangeCheck | None = None  # known when the images are loaded

    def prepare_data(self) -> None:
        """Download what is missing; Lightning calls this in one process."""
        super().prepare_data()
        if official(self.data_root) is None:
            fetch([self.remote_test], _folder(self.data_root), what="affNIST")

    def load(self) -> dict[SplitName, Split]:
        """Read MNIST and affNIST's test images.

        Afterwards `ranges` says whether the transforms that are stored with them fit the ranges of
        the data module `affnist-like`.
        """
        splits = super().load()
        path = official(self.data_root)
        assert path is not None  # it was there, or has just been downloaded
        fields = _joined([read_affnist(content) for content in _contents(path)])
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

    def _rows(self, path: Path, fields: Fields, digits: NDArray[np.int64]) -> NDArray[np.int64]:
        """Which images are taken: the first transform of each digit, then the second, ..."""
        labels = fields["label_int"]
        copies, rest = divmod(len(labels), len(digits))
        classes = np.bincount(digits, minlength=self.num_classes)
        if not copies or rest or (np.bincount(labels, minlength=10) != copies * classes).any():
            expected = f"each of MNIST's {len(digits)} test digits equally often"
            found = f"{len(labels)} images of other classes"
            raise damaged(path, expected, found)
        originals = _originals(fields, digits)
        if originals is not None:
            by_digit = np.argsort(originals, kind="stable").reshape(len(digits), copies)
            return by_digit.T[: self.copies].ravel()
        if self.copies is not None:
            raise UserError(
                f"{path} does not tell which image was made of which digit: leave copies out"
            )
        return np.arange(len(labels))

    @property
    def notes(self) -> list[str]:
        """Whether the transforms that are stored in the file fit the ranges of affnist-like."""
        return [] if self.ranges is None else [self.ranges.told]

    @classmethod
    def found(cls, data_root: Path) -> str:
        """Whether MNIST's files and affNIST's test images are there."""
        path = official(data_root)
        if path is None:
            there = f"test images not found; downloaded when needed, or put {REMOTE.name} in "
            there += str(_folder(data_root))
        elif path.is_dir():
            there = f"test images found in {path}"
        else:
            with opened(path) as stream:
                there = f"test images found in {path}, SHA-256 {stream_sha256(stream)}"
        return f"{there} (no checksum is published); MNIST {super().found(data_root)}"


def official(data_root: Path) -> Path | None:
    """The file or folder of the official test images, if there is one."""
    place = _folder(data_root)
    candidates = [place / name for name in ("test.mat", "test.mat.zip", "test_batches.zip")]
    there = [path for path in candidates if path.is_file()]
    if (place / "test_batches").is_dir():
        there.append(place / "test_batches")
    return there[0] if there else None


def _folder(data_root: Path) -> Path:
    return data_root / "affNIST"


def _contents(path: Path) -> Iterator[Content]:
    """The MATLAB files, in the order of their numbers."""
    if path.is_dir():
        files = [file for file in path.glob("*.mat") if file.stem.isdecimal()]
        if not files:
            raise UserError(f"{path} holds no file 1.mat, 2.mat, ...; put affNIST's there")
        yield from map(read, sorted(files, key=lambda file: int(file.stem)))
    elif path.suffix == ".zip":
        yield from zip_members(path, ".mat")
    else:
        yield read(path)


def _joined(parts: list[Fields]) -> Fields:
    """The fields of all files, one after the other."""
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _originals(fields: Fields, digits: NDArray[np.int64]) -> NDArray[np.int64] | None:
    """(N,) of which of MNIST's test digits each image was made; None if that cannot be told.

    The order of the official images and the name of the field that tells it are not known here, so
    whatever can be the digits' numbers is held against the labels.
    """
    labels = fields["label_int"]
    numbers = np.arange(len(labels))
    copies = len(labels) // len(digits)
    candidates = [numbers % len(digits), numbers // copies]
    columns = [values.ravel() for values in fields.values() if values.size == len(labels)]
    candidates += [values.astype(np.int64) - 1 for values in columns]  # MATLAB counts from 1
    for found in candidates:
        inside = found.min() >= 0 and found.max() < len(digits)
        if inside and (digits[found] == labels).all() and (np.bincount(found) == copies).all():
            return found
    return None
