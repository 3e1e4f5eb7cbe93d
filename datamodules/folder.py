"""A folder of the user's own images, with a table of their classes and views."""

from __future__ import annotations

import struct
import zlib
from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from PIL import Image, ImageOps
from torch import Tensor

from capsbench.arguments import Positive
from capsbench.data.batches import Split
from capsbench.data.images import Identity
from capsbench.data.recorded import RecordedData, Recording
from capsbench.datamodules._folder_table import TABLE, read_table
from capsbench.errors import UserError

MODES = {1: "L", 3: "RGB"}
# Errors of Pillow's readers on damaged files.
DAMAGED = (
    Image.DecompressionBombError,
    OSError,
    SyntaxError,
    ValueError,
    TypeError,
    LookupError,
    ArithmeticError,
    EOFError,
    MemoryError,
    NotImplementedError,
    struct.error,
    zlib.error,
)


class Folder(RecordedData):
    """Your own images: a folder with a table ``labels.csv`` of files, classes and views.

    The table's first line names its columns: ``file``, inside the folder and each once, and
    ``class``, a name. Optional columns are ``instance`` (number of the object within its class),
    ``azimuth`` and ``elevation`` (degrees), ``lighting`` (a number), ``distance`` (1 for the usual
    one), and ``split`` (``train`` or ``test``). Without a column ``split``, `RecordedData` selects
    the test images: if no view is recorded, a share of each class.

    Args:
        path: The folder, relative to the data root.
        size: Side of the images, in pixels; an image of any shape is resized to a square.
        channels: 1 for grey, 3 for colour.
        data_root: Folder of data files.
        kwargs: See `RecordedData`.

    Raises:
        UserError: The table is missing or wrong, or an image is missing or cannot be read.
    """

    source: ClassVar[str] = "your own: <data root>/<path>/labels.csv and the images that it names"
    padding = "border"  # photographs

    def __init__(
        self,
        *,
        path: str,
        size: Positive = 32,
        channels: Literal[1, 3] = 3,
        data_root: Path | str | None = None,
        **kwargs: Any,
    ) -> None:
        directory = Path("data" if data_root is None else data_root) / path
        self.table = read_table(directory)
        self.image_shape = (channels, size, size)
        self.class_names = self.table.classes
        self.num_classes = len(self.class_names)
        self.factors = tuple(self.table.factors)
        self.own_name = directory.name
        self.identity = Identity(self.own_name, "1", _checksum(directory / TABLE, self.table.files))
        super().__init__(data_root=data_root, **kwargs)

    def read(self) -> Recording:
        """Read and resize the images."""
        images = torch.stack([self._image(file) for file in self.table.files])
        all_images = Split(
            images,
            torch.tensor(self.table.labels),
            torch.arange(len(images)),
            {
                name: torch.tensor(values, dtype=torch.float64)  # as exact as the table
                for name, values in self.table.factors.items()
            },
        )
        test = self.table.test
        return Recording(all_images, None if test is None else torch.tensor(test))

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line: the folder is an argument."""
        return f"a folder of your own under {data_root}: name it by the argument path"

    def _image(self, file: Path) -> Tensor:
        """Return an image as (C, H, W) uint8."""
        channels, height, width = self.image_shape
        try:
            with Image.open(file) as image:
                if image.mode[0] in "IF":
                    raise UserError(
                        f"{file} has more than 8 bits for each pixel and channel; convert it first"
                    )
                upright = ImageOps.exif_transpose(image)  # undo the camera's rotation
                resized = upright.convert(MODES[channels]).resize((width, height))
        except DAMAGED as error:
            reason = " ".join(str(error).split())
            raise UserError(f"{file} cannot be read as an image ({reason}); replace it") from None
        pixels = torch.from_numpy(np.array(resized)).reshape(height, width, channels)
        return pixels.permute(2, 0, 1).contiguous()


def _checksum(table: Path, files: list[Path]) -> str:
    """Return one SHA-256 over the table and all images."""
    digest = sha256(table.read_bytes())
    for file in files:
        digest.update(sha256(file.read_bytes()).digest())
    return f"sha256:{digest.hexdigest()}"
