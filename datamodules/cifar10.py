"""CIFAR-10: 60,000 small colour photographs, downloaded or local."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import torch

from capsbench.data.batches import Split, SplitName
from capsbench.data.images import Identity, ImageDataModule
from capsbench.data.splits import hold_out
from capsbench.datamodules._availability import missing_files, status_line
from capsbench.files.download import fetch
from capsbench.files.remote import RemoteFile
from capsbench.formats.cifar import read_cifar10

ARCHIVE = RemoteFile(
    "cifar-10-binary.tar.gz",
    "c4a38c50a1bc5f3a1c5537f2155ab9d68f9f25eb1ed8d9ddda3db29a59bca1dd",
    170052171,
    (
        "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
        "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
    ),
)
UNVERIFIED = ("cifar-10-batches-bin", "cifar-10-batches-py", "cifar-10-python.tar.gz")
VALIDATION_SHARE = 0.1


class CIFAR10(ImageDataModule):
    """CIFAR-10, 32 x 32, colour: 45,000 images to train on, 5,000 for validation, 10,000 to test.

    The file is ``<data root>/CIFAR10/cifar-10-binary.tar.gz``, the binary version: the Python
    version consists of pickles, which are never opened. If it is not there, it is downloaded.

    Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images (2009).
    """

    identity = Identity("cifar10", "1", f"sha256:{ARCHIVE.sha256}")
    image_shape = (3, 32, 32)
    num_classes = 10
    class_names = (
        "airplane",
        "automobile",
        "bird",
        "cat",
        "deer",
        "dog",
        "frog",
        "horse",
        "ship",
        "truck",
    )
    source: ClassVar[str] = "Krizhevsky 2009; <data root>/CIFAR10/cifar-10-binary.tar.gz"
    padding = "border"  # photographs: black corners would reveal the rotation
    archive: ClassVar[RemoteFile] = ARCHIVE

    def prepare_data(self) -> None:
        """Download the archive if it is not there; Lightning calls this in one process."""
        directory = self._folder(self.data_root)
        fetch(missing_files(directory, [self.archive]), directory, data_set="CIFAR-10")

    def load(self) -> dict[SplitName, Split]:
        """Read the archive and hold out the validation images."""
        self.prepare_data()
        path = self._folder(self.data_root) / self.archive.name
        assert self.archive.sha256 is not None  # published
        batches = read_cifar10(path, self.archive.sha256)
        parts = {
            name: Split(
                torch.from_numpy(images), torch.from_numpy(labels), torch.arange(len(labels))
            )
            for name, (images, labels) in batches.items()
        }
        all_images = parts["train"]
        names = ("cifar10", "validation")
        train, validation = hold_out(all_images.targets, VALIDATION_SHARE, *names)
        return {
            "train": all_images[train],
            "validation": all_images[validation],
            "test": parts["test"],
        }

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line that says if the archive is there."""
        directory = cls._folder(data_root)
        missing = [file.name for file in missing_files(directory, [cls.archive])]
        line = status_line(directory, missing)
        others = [name for name in UNVERIFIED if missing and (directory / name).exists()]
        reason = f" ({', '.join(others)}: not read, only the archive's checksum is known)"
        return line + reason if others else line

    @staticmethod
    def _folder(data_root: Path) -> Path:
        return data_root / "CIFAR10"
