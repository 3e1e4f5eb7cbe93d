"""Sets in the four IDX files of MNIST: MNIST and those that took its place."""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from pydantic import Field

from capsbench.data.batches import Split, SplitName
from capsbench.data.images import ImageDataModule
from capsbench.data.splits import hold_out
from capsbench.datamodules._at_hand import told
from capsbench.errors import UserError
from capsbench.files.content import Content, damaged, read, unpacked
from capsbench.files.download import fetch
from capsbench.files.remote import RemoteFile
from capsbench.formats.idx import read_idx

SIDE = 28  # of a stored image, pixels
VALIDATION_SHARE = 1 / 12  # 5,000 of 60,000

Canvas = Annotated[int, Field(ge=SIDE)]


class IdxFile(NamedTuple):
    """What is known of a file.

    Attributes:
        size: Bytes of the packed file, ``<name>.gz``.
        packed: Its SHA-256.
        plain: SHA-256 of what it holds; None where nobody has published it.
    """

    size: int
    packed: str
    plain: str | None = None


def checksum(files: Mapping[str, IdxFile]) -> str:
    """One checksum for the identity of all files."""
    sums = "".join(file.plain or file.packed for file in files.values())
    return f"sha256:{sha256(sums.encode()).hexdigest()}"


class IdxSet(ImageDataModule):
    """A set of four IDX files: 60,000 images, 5,000 of them for validation, and 10,000 to test.

    The files are read where they are under ``<data root>/<set>/raw``, as torchvision lays them,
    packed (``.gz``) or, where the SHA-256 of what they hold is known, unpacked; those that are not
    there are downloaded. Each is checked against its SHA-256 before it is used.

    Args:
        canvas: Pixels of the shown images' side: the stored 28 x 28 in the middle of black.
        kwargs: See `ImageDataModule`.

    Raises:
        UserError: The canvas has no middle for the images.
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
                f"pixels stand in its middle; got {canvas}"
            )
        self.image_shape = (1, canvas, canvas)

    def prepare_data(self) -> None:
        """Download what is missing; Lightning calls this in one process."""
        files = [self.remote(name) for name in self.missing(self.data_root)]
        fetch(files, self.folder(self.data_root), what=self.folder_name)

    def load(self) -> dict[SplitName, Split]:
        """Read the four files and hold out the validation images."""
        self.prepare_data()
        everything = self.read("train")
        # The name of the files, so that all sets that are made of them are divided alike.
        names = (self.folder_name.lower(), "validation")
        train, validation = hold_out(everything.targets, VALIDATION_SHARE, *names)
        return {
            "train": everything[train],
            "validation": everything[validation],
            "test": self.read("t10k"),
        }

    def read(self, part: str) -> Split:
        """The images of a pair of files, in their order.

        Args:
            part: ``train`` or ``t10k``.

        Raises:
            UserError: A file is missing, damaged or another one.
        """
        images = self._array(f"{part}-images-idx3-ubyte")
        targets = self._array(f"{part}-labels-idx1-ubyte")
        if images.shape[1:] != (SIDE, SIDE) or targets.shape != images.shape[:1]:
            expected = f"as many labels as images of {SIDE} x {SIDE} pixels"
            found = f"{tuple(targets.shape)} and {tuple(images.shape)}"
            raise damaged(self.folder(self.data_root), expected, found)
        return Split(images[:, None], targets.long(), torch.arange(len(targets)))

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Whether the four files are there."""
        place = cls.folder(data_root)
        line = told(place, cls.missing(data_root))
        unknown = [name for name, file in cls.files.items() if file.plain is None]
        uncounted = any(
            (place / name).is_file() and not (place / f"{name}.gz").is_file() for name in unknown
        )
        why = " (unpacked files do not count: no checksum of them is known)"
        return line + why if uncounted else line

    @classmethod
    def folder(cls, data_root: Path) -> Path:
        """Where the four files lie, as torchvision lays them."""
        return data_root / cls.folder_name / "raw"

    @classmethod
    def missing(cls, data_root: Path) -> list[str]:
        """The files that are not there: packed, or as they are where that can be checked."""
        place = cls.folder(data_root)
        return [
            name if file.plain else f"{name}.gz"
            for name, file in cls.files.items()
            if not (place / f"{name}.gz").is_file()
            and not (file.plain and (place / name).is_file())
        ]

    @classmethod
    def remote(cls, name: str) -> RemoteFile:
        """Where a file comes from."""
        name = name.removesuffix(".gz")
        file = cls.files[name]
        urls = tuple(f"{mirror}/{name}.gz" for mirror in cls.mirrors)
        return RemoteFile(f"{name}.gz", file.packed, file.size, urls)

    def _array(self, name: str) -> torch.Tensor:
        file, place = self.files[name], self.folder(self.data_root)
        plain = place / name
        if file.plain is not None and plain.is_file():
            content = unpacked(read(plain)).check(file.plain)
        else:
            content = _checked(read(place / f"{name}.gz"), file)
        return torch.from_numpy(read_idx(content))


def _checked(packed: Content, file: IdxFile) -> Content:
    """What a packed file holds, whose own SHA-256 is right, or that of what it holds.

    A file that was unpacked and packed again is another one that holds the same.
    """
    found = packed.sha256
    if found == file.packed:
        return unpacked(packed)
    if file.plain is None:
        raise packed.damaged(f"SHA-256 {file.packed}", found)
    content = unpacked(packed)
    if content.sha256 != file.plain:
        raise packed.damaged(
            f"SHA-256 {file.packed}, or {file.plain} of what it holds",
            f"{found} and {content.sha256}",
        )
    return content
