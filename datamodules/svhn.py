"""SVHN: 99,289 house numbers' digits in colour, downloaded or local."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import ClassVar

import torch

from capsbench.data.batches import Split, SplitName
from capsbench.data.images import Identity, ImageDataModule
from capsbench.data.splits import hold_out_per_class
from capsbench.datamodules._availability import missing_files, status_line
from capsbench.files.content import read
from capsbench.files.download import fetch
from capsbench.files.remote import RemoteFile
from capsbench.formats.matlab import read_svhn

HOST = "http://ufldl.stanford.edu/housenumbers"
FILES = {
    "train": RemoteFile(
        "train_32x32.mat",
        "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8",
        182040794,
        (f"{HOST}/train_32x32.mat",),
    ),
    "test": RemoteFile(
        "test_32x32.mat",
        "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b",
        64275384,
        (f"{HOST}/test_32x32.mat",),
    ),
}
VALIDATION_SHARE = 0.1


class SVHN(ImageDataModule):
    """Street View House Numbers, 32 x 32, colour: cropped digits, 73,257 and 26,032 to test.

    A tenth of each class's training images is held out for validation, so that the classes keep
    their different sizes. The extra images are not used, as in Sabour et al. (2017). The two files
    lie under ``<data root>/SVHN``; if they are not there, they are downloaded from the only known
    address.

    Source: Y. Netzer et al., Reading Digits in Natural Images with Unsupervised Feature Learning
    (2011).
    """

    identity = Identity(
        "svhn",
        "1",
        f"sha256:{sha256(''.join(str(f.sha256) for f in FILES.values()).encode()).hexdigest()}",
    )
    image_shape = (3, 32, 32)
    num_classes = 10
    class_names = tuple("0123456789")
    turned_alike = ((6, 9),)
    source: ClassVar[str] = (
        "Netzer et al. 2011; train_32x32.mat and test_32x32.mat under <data root>/SVHN"
    )
    padding = "border"  # photographs: black corners would reveal the rotation
    files: ClassVar[dict[str, RemoteFile]] = FILES

    def prepare_data(self) -> None:
        """Download what is missing; Lightning calls this in one process."""
        directory = self._folder(self.data_root)
        fetch(missing_files(directory, self.files.values()), directory, data_set="SVHN")

    def load(self) -> dict[SplitName, Split]:
        """Read both files and hold out the validation images."""
        self.prepare_data()
        all_images = self._read("train")
        names = ("svhn", "validation")
        train, validation = hold_out_per_class(all_images.targets, VALIDATION_SHARE, *names)
        return {
            "train": all_images[train],
            "validation": all_images[validation],
            "test": self._read("test"),
        }

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line that says if both files are there."""
        directory = cls._folder(data_root)
        return status_line(
            directory, [file.name for file in missing_files(directory, cls.files.values())]
        )

    @staticmethod
    def _folder(data_root: Path) -> Path:
        return data_root / "SVHN"

    def _read(self, part: str) -> Split:
        file = self.files[part]
        images, labels = read_svhn(read(self._folder(self.data_root) / file.name, file.sha256))
        return Split(torch.from_numpy(images), torch.from_numpy(labels), torch.arange(len(labels)))
