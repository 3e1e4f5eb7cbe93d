"""Sets in four IDX files: MNIST and its drop-in replacements."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field

from capsbench.data.batches import Split, SplitName
from capsbench.data.images import ImageDataModule
from capsbench.data.splits import hold_out
from capsbench.datamodules._availability import status_line
from capsbench.errors import UserError
from capsbench.files.content import Content, damaged, decompress, describe_checksum, read
from capsbench.files.download import fetch
from capsbench.files.remote import RemoteFile
from capsbench.formats.idx import read_idx

SIDE = 28  # of a stored image, pixels
MAX_BYTES = 16 + 60_000 * SIDE**2  # of a file, unpacked: the header and the training images
VALIDATION_SHARE = 1 / 12  # 5,000 of 60,000

Canvas = Annotated[int, Field(ge=SIDE)]


class IdxFile(NamedTuple):
    """Size and checksums of a file.

    Attributes:
        size: Bytes of the packed file, ``<name>.gz``.
        packed: SHA-256 of the packed file.
        plain: SHA-256 of the unpacked file, or its MD5 where no SHA-256 has been published.
    """

    size: int
    packed: str
    plain: str


def checksum(sums: Iterable[str]) -> str:
    """Return one checksum of all files, for the identity of the set."""
    return f"sha256:{sha256(''.join(sums).encode()).hexdigest()}"


class IdxSet(ImageDataModule):
    """A set of four IDX files: 60,000 images, 5,000 of them for validation, and 10,000 to test.

    The files lie under ``<data root>/<set>/raw``, as torchvision stores them, packed (``.gz``) or
    unpacked; the unpacked one is read if both are there. Missing files are downloaded. Each file is
    checked against its checksum before it is used.

    Args:
        canvas: Side of the images in pixels, with the stored 28 x 28 in the middle of black.
        kwargs: See `ImageDataModule`.

    Raises:
        UserError: The canvas is an odd number, so that the images cannot be in its middle.
    """

    folder_name: ClassVar[str]
    mirrors: ClassVar[tuple[str, ...]]
    files: ClassVar[Mapping[str, IdxFile]]  # by name, unpacked
    num_classes = 10

    def __init__(self, *, canvas: Canvas = SIDE, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if (canvas - SIDE) % 2:
            raise UserError(
                f"canvas of {self.identity.name} is an even number, so that the images of {SIDE} "
                f"pixels are in its middle; got {canvas}"
            )
        self.image_shape = (1, canvas, canvas)

    def prepare_data(self) -> None:
        """Download what is missing; Lightning calls this in one process."""
        files = [self.remote(name) for name in self.missing_files(self.data_root)]
        fetch(files, self.folder(self.data_root), data_set=self.folder_name)

    def load(self) -> dict[SplitName, Split]:
        """Read the four files and hold out the validation images."""
        self.prepare_data()
        all_images = self.read("train")
        # The name of the files, so that all sets made from them have the same division.
        names = (self.folder_name.lower(), "validation")
        train, validation = hold_out(all_images.targets, VALIDATION_SHARE, *names)
        return {
            "train": all_images[train],
            "validation": all_images[validation],
            "test": self.read("t10k"),
        }

    def read(self, part: str) -> Split:
        """Return the images of a pair of files, in their order.

        Args:
            part: ``train`` or ``t10k``.

        Raises:
            UserError: A file is missing, damaged or not one of the set.
        """
        images = self._array(f"{part}-images-idx3-ubyte")
        targets = self._array(f"{part}-labels-idx1-ubyte")
        if images.shape[1:] != (SIDE, SIDE) or targets.shape != images.shape[:1]:
            expected = f"as many labels as images of {SIDE} x {SIDE} pixels"
            shapes = f"{tuple(targets.shape)} and {tuple(images.shape)}"
            raise damaged(self.folder(self.data_root), expected, shapes)
        return Split(images[:, None], targets.long(), torch.arange(len(targets)))

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line that says if the four files are in their folder."""
        return status_line(cls.folder(data_root), cls.missing_files(data_root))

    @classmethod
    def folder(cls, data_root: Path) -> Path:
        """Return the folder of the four files, the same as torchvision's."""
        return data_root / cls.folder_name / "raw"

    @classmethod
    def missing_files(cls, data_root: Path) -> list[str]:
        """Return the names of the files that are there neither packed nor unpacked."""
        directory = cls.folder(data_root)
        return [
            name
            for name in cls.files
            if not any((directory / form).is_file() for form in (name, f"{name}.gz"))
        ]

    @classmethod
    def remote(cls, name: str) -> RemoteFile:
        """Return the addresses of a file, with its checksum."""
        file = cls.files[name]
        urls = tuple(f"{mirror}/{name}.gz" for mirror in cls.mirrors)
        return RemoteFile(f"{name}.gz", file.packed, file.size, urls)

    def _array(self, name: str) -> torch.Tensor:
        file, directory = self.files[name], self.folder(self.data_root)
        plain = directory / name
        path = plain if plain.is_file() else directory / f"{name}.gz"
        return torch.from_numpy(read_idx(_verified(read(path), file)))


def _verified(stored: Content, file: IdxFile) -> Content:
    """Return the unpacked content if the checksum of the packed or the unpacked file is right.

    A file that was unpacked and packed again has another SHA-256, but the same content.
    """
    content = decompress(stored, MAX_BYTES)
    if content is stored:
        return stored.check(file.plain)
    checksum, unpacked = stored.sha256, content.checksum_like(file.plain)
    if checksum != file.packed and unpacked != file.plain:
        raise stored.damaged(
            f"SHA-256 {file.packed}, or {describe_checksum(file.plain)} of the unpacked file",
            f"{checksum} and {unpacked}",
        )
    return content
