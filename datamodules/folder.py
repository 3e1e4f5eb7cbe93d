"""A folder of the user's own images, with a table of their classes and views."""

from __future__ import annotations

from hashlib import file_digest, sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from capsbench.arguments import Positive
from capsbench.data.batches import Split, SplitName
from capsbench.data.images import Identity
from capsbench.data.overlap import pixel_sums
from capsbench.data.recorded import RecordedData, Recording
from capsbench.datamodules._equal_images import require_distinct
from capsbench.datamodules._folder_table import TABLE, read_table
from capsbench.datamodules._image_files import read_image

Level = Annotated[int, Field(ge=0, le=255)]


class Folder(RecordedData):
    """Your own images: a folder with a table ``labels.csv`` of files, classes and views.

    The table's first line names its columns: ``file``, inside the folder and each once, and
    ``class``, a name. Optional columns are ``instance`` (number of the object within its class),
    ``azimuth`` and ``elevation`` (degrees), ``lighting`` (a number), ``distance`` (1 for the usual
    one), and ``split`` (``train`` or ``test``). Without a column ``split``, `RecordedData` selects
    the test images: if no view is recorded, a share of each class.

    Images that are equal pixel by pixel, once they have their size, must have one class, and be in
    one of training, validation and test.

    Args:
        path: The folder, relative to the data root.
        size: Side of the images, in pixels; an image of any shape is resized to a square.
        channels: 1 for grey, 3 for colour.
        background: What is behind transparent pixels: a level from 0 (black) to 255 (white), or
            red, green and blue.
        equal_images: ``allow`` accepts equal images of one class in training and test, such as
            symmetric objects rendered from several sides.
        data_root: Folder of data files.
        kwargs: See `RecordedData`.

    Raises:
        UserError: The table is missing or wrong, an image is missing or has no one right reading in
            8 bits, or equal images are in two classes or splits.
    """

    revision: ClassVar[int] = 3  # of RecordedData 2; transparent pixels over a background
    source: ClassVar[str] = "your own: <data root>/<path>/labels.csv and the images that it names"
    padding = "border"  # photographs

    def __init__(
        self,
        *,
        path: str,
        size: Positive = 32,
        channels: Literal[1, 3] = 3,
        background: Level | tuple[Level, Level, Level] = 0,
        equal_images: Literal["refuse", "allow"] = "refuse",
        data_root: Path | str | None = None,
        **kwargs: Any,
    ) -> None:
        directory = Path("data" if data_root is None else data_root) / path
        self.table = read_table(directory)
        self.background = (background,) * 3 if isinstance(background, int) else background
        self.equal_images = equal_images
        self.image_shape = (channels, size, size)
        self.class_names = self.table.classes
        self.num_classes = len(self.class_names)
        self.factors = tuple(self.table.factors)
        self.own_name = directory.name
        sums = [_sha256(file) for file in self.table.files]
        splits = self.table.splits if equal_images == "refuse" else None
        require_distinct(self.table.files, sums, self.table.names, splits, "the same file")
        self.identity = Identity(self.own_name, "1", _checksum(directory / TABLE, sums))
        self._repeated = 0  # images that equal another one of their split
        super().__init__(data_root=data_root, **kwargs)

    def read(self) -> Recording:
        """Read and resize the images."""
        images = torch.stack([self._image(file) for file in self.table.files])
        numbers = {name: number for number, name in enumerate(self.class_names)}
        all_images = Split(
            images,
            torch.tensor([numbers[name] for name in self.table.names]),
            torch.arange(len(images)),
            {
                name: torch.tensor(values, dtype=torch.float64)  # as exact as the table
                for name, values in self.table.factors.items()
            },
        )
        splits = self.table.splits
        test = None if splits is None else torch.tensor([split == "test" for split in splits])
        return Recording(all_images, test)

    def load(self) -> dict[SplitName, Split]:
        """Read the images, divide them, and refuse equal ones in two classes or splits."""
        splits = super().load()
        used = sorted(
            (row, name, pixels)
            for name, split in splits.items()
            for row, pixels in zip(split.index.tolist(), pixel_sums(split.images), strict=True)
        )
        rows, parts, sums = zip(*used, strict=True)
        require_distinct(
            [self.table.files[row] for row in rows],
            sums,
            [self.table.names[row] for row in rows],
            parts if self.equal_images == "refuse" else None,
            "the same image at {1} x {2} pixels".format(*self.image_shape),
        )
        self._repeated = len(used) - len({*zip(parts, sums, strict=True)})
        return splits

    @property
    def notes(self) -> list[str]:
        """A sentence about equal images within a split, if there are any."""
        if not self._repeated:
            return []
        return [f"images that equal another one of their split, pixel by pixel: {self._repeated:,}"]

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line: the folder is an argument."""
        return f"a folder of your own under {data_root}: name it by the argument path"

    def _image(self, file: Path) -> Tensor:
        """Return an image as (C, H, W) uint8."""
        channels, size, _ = self.image_shape
        pixels = read_image(file, size=size, channels=channels, background=self.background)
        return torch.from_numpy(pixels).permute(2, 0, 1).contiguous()


def _sha256(file: Path) -> bytes:
    with file.open("rb") as stream:
        return file_digest(stream, "sha256").digest()


def _checksum(table: Path, sums: list[bytes]) -> str:
    """Return one SHA-256 over the table and all images."""
    digest = sha256(table.read_bytes())
    for each in sums:
        digest.update(each)
    return f"sha256:{digest.hexdigest()}"
