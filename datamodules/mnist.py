"""MNIST: 70,000 handwritten digits in IDX files, downloaded by torchvision or at hand."""

from __future__ import annotations

import gzip
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import ImageShape
from capsbench.data.batches import Split
from capsbench.data.images import Identity, ImageData, SplitName
from capsbench.data.splits import hold_out
from capsbench.errors import UserError

# SHA-256 of the unpacked files as first published.
FILES = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}
VALIDATION_SHARE = 1 / 12


class MNIST(ImageData):
    """MNIST, 28 x 28: 55,000 images to train on, 5,000 for validation, the official 10,000 to test.

    The four IDX files are read where they are, packed (``.gz``) or not, under
    ``<data root>/MNIST/raw``; if they are not there, torchvision downloads and verifies them. Every
    file is checked against its SHA-256 before it is used.

    Source: Y. LeCun, C. Cortes, C. Burges, The MNIST Database of Handwritten Digits (1998).
    """

    identity: ClassVar[Identity] = {
        "name": "mnist",
        "version": "1",
        "checksum": f"sha256:{sha256(''.join(FILES.values()).encode()).hexdigest()}",
    }
    image_shape: ClassVar[ImageShape] = (1, 28, 28)
    num_classes: ClassVar[int] = 10
    source: ClassVar[str] = "LeCun, Cortes, Burges 1998; four IDX files under <data root>/MNIST/raw"

    def prepare_data(self) -> None:
        """Download what is missing; Lightning calls this in one process."""
        missing = missing_files(self.data_root)
        if missing:
            self._download(missing)

    def load(self) -> dict[SplitName, Split]:
        """Read the four files and hold out the validation images."""
        self.prepare_data()
        images, targets = self._read("train")
        train, validation = hold_out(targets, VALIDATION_SHARE, "mnist", "validation")
        everything = Split(images, targets, torch.arange(len(targets)))
        test_images, test_targets = self._read("t10k")
        return {
            "train": everything[train],
            "validation": everything[validation],
            "test": Split(test_images, test_targets, torch.arange(len(test_targets))),
        }

    @classmethod
    def found(cls, data_root: Path) -> str:
        """Whether the four files are there."""
        missing = missing_files(data_root)
        if not missing:
            return f"found in {folder(data_root)}"
        return (
            f"not found; downloaded when needed, or put {', '.join(missing)} in {folder(data_root)}"
        )

    def _read(self, part: str) -> tuple[Tensor, Tensor]:
        images = read_idx(folder(self.data_root), f"{part}-images-idx3-ubyte")
        labels = read_idx(folder(self.data_root), f"{part}-labels-idx1-ubyte")
        return torch.from_numpy(images)[:, None], torch.from_numpy(labels).long()

    def _download(self, missing: list[str]) -> None:
        from torchvision.datasets import MNIST as Torchvision

        try:
            Torchvision(self.data_root, download=True)
        except (OSError, RuntimeError) as error:
            raise UserError(
                f"MNIST could not be downloaded ({error}); put {', '.join(missing)} "
                f"(.gz or unpacked) in {folder(self.data_root)}, or name their root by --data-root"
            ) from None


def folder(data_root: Path) -> Path:
    """Where the four files lie, as torchvision lays them."""
    return data_root / "MNIST" / "raw"


def missing_files(data_root: Path) -> list[str]:
    """The files that are there neither packed nor unpacked."""
    place = folder(data_root)
    return [f for f in FILES if not (place / f).is_file() and not (place / f"{f}.gz").is_file()]


def read_idx(place: Path, name: str) -> NDArray[Any]:
    """Read an IDX file of unsigned bytes, packed or not, after checking its SHA-256.

    Args:
        place: The folder.
        name: The unpacked file's name.

    Returns:
        The array, uint8, in the shape that the header gives.

    Raises:
        UserError: The file is damaged or another one.
    """
    plain, packed = place / name, place / f"{name}.gz"
    path = plain if plain.is_file() else packed
    try:
        content = path.read_bytes() if path == plain else gzip.decompress(path.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise UserError(f"{path} is damaged or unreadable ({error}); replace it") from None
    found = sha256(content).hexdigest()
    if found != FILES[name]:
        raise UserError(
            f"{path} is damaged or another file: expected SHA-256 {FILES[name]} (unpacked), "
            f"got {found}; replace it"
        )
    # Two zero bytes, the type (8: unsigned byte), the number of axes, then each axis's length.
    axes = content[3]
    shape = np.frombuffer(content, ">u4", count=axes, offset=4)
    return np.frombuffer(bytearray(content), np.uint8, offset=4 + 4 * axes).reshape(shape)
