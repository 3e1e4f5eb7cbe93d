"""COIL-20 and COIL-100: photographs of objects on a turntable, every 5 degrees."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import Tensor

from capsbench.arguments import Positive
from capsbench.data.batches import Split
from capsbench.data.images import Identity
from capsbench.data.recorded import RecordedData, Recording
from capsbench.datamodules._npz_files import NpzSet
from capsbench.datamodules._pictures import shrink, to_tensor
from capsbench.errors import UserError
from capsbench.formats.npz import ArraySpec

CHANNELS = (1, 3)
REQUIRED: dict[str, ArraySpec] = {
    "images": ((3, 4), "u"),
    "object_id": (1, "iu"),
    "azimuth_deg": (1, "iu"),
}
VIEW = ("object_id", "azimuth_deg")
SETS = {
    20: NpzSet(
        "COIL20",
        "coil20_*.npz",
        {"coil20_128.npz": "8f118b584bc597523e2186f8d275b7f5db52af6d638245d67b4420237b4124f3"},
        CHANNELS,
        REQUIRED,
        VIEW,
    ),
    100: NpzSet("COIL100", "coil100_*.npz", {}, CHANNELS, REQUIRED, VIEW),
}


class COIL(RecordedData):
    """COIL-20 or COIL-100: 20 or 100 objects, each a class, from 72 azimuths at one elevation.

    The images are in an NPZ file, ``<data root>/COIL20/coil20_128.npz`` or
    ``<data root>/COIL100/coil100_*.npz``, with the arrays ``images`` (N, H, W) or (N, H, W, 3)
    uint8, ``object_id`` (N,) from 1 on, and ``azimuth_deg`` (N,). Several files with different
    objects or azimuths are read as one. There is no official division:
    name the familiar azimuths, such as ``views.azimuth: {start: 0, stop: 340, step: 20}``. The
    authors scaled each image separately to fill the frame and the full range of greys.

    Args:
        objects: Number of objects, which selects the set.
        size: Side of the images, in pixels; larger images are reduced by averaging boxes of pixels.
        colour: Three channels; if False, their mean.
        kwargs: See `RecordedData`.

    Source: S. Nene, S. Nayar, H. Murase, Columbia Object Image Library (1996).
    """

    source: ClassVar[str] = (
        "Nene, Nayar, Murase 1996; <data root>/COIL20/coil20_128.npz or COIL100/coil100_*.npz"
    )
    factors = ("azimuth",)

    def __init__(
        self,
        *,
        objects: Literal[20, 100] = 20,
        size: Positive = 32,
        colour: bool = False,
        **kwargs: Any,
    ) -> None:
        self.npz = SETS[objects]
        self.num_classes = objects
        self.class_names = tuple(f"object {number}" for number in range(1, objects + 1))
        self.image_shape = (3 if colour else 1, size, size)
        self.identity = Identity(f"coil{objects}", "1", "unknown")
        super().__init__(**kwargs)
        self.identity = Identity(f"coil{objects}", "1", self.npz.checksum(self.data_root))
        self.colour = colour

    def read(self) -> Recording:
        """Read the file, or the parts of the set."""
        arrays = self.npz.read(self.data_root, self.identity.checksum)
        name = self.identity.name
        images = to_tensor(arrays["images"], colour=self.colour, name=name)
        numbers = torch.from_numpy(arrays["object_id"].astype(np.int64))
        known = torch.arange(1, self.num_classes + 1)
        if not torch.equal(numbers.unique(), known):
            raise UserError(
                f"the file of {name} has objects {int(numbers.min())} to {int(numbers.max())}, "
                f"{len(numbers.unique())} of them; expected 1 to {self.num_classes}, each"
            )
        azimuth = torch.from_numpy(arrays["azimuth_deg"].astype(np.int64))
        small = shrink(images, self.image_shape[1], name)
        all_images = Split(small, numbers - 1, torch.arange(len(numbers)), {"azimuth": azimuth})
        return Recording(all_images)

    def objects(self, images: Split) -> Tensor:
        """Return the objects in images, (N, 1): each class is one."""
        return images.targets[:, None]

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line that says if the files are there."""
        return "; ".join(
            f"COIL-{objects} {npz.status_line(data_root)}" for objects, npz in SETS.items()
        )
