"""ETH-80: photographs of toys and fruit from recorded views, with masks."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch

from capsbench.arguments import Positive
from capsbench.data.batches import Split
from capsbench.data.images import Identity
from capsbench.data.recorded import RecordedData, Recording
from capsbench.datamodules._npz_files import NpzSet
from capsbench.datamodules._pictures import shrink, to_tensor
from capsbench.errors import UserError
from capsbench.formats.npz import ArraySpec

NAMES = ("apple", "car", "cow", "cup", "dog", "horse", "pear", "tomato")
REQUIRED: dict[str, ArraySpec] = {
    "images": (4, "u"),
    "masks": (3, "u"),
    "category_id": (1, "iu"),
    "instance": (1, "iu"),
    "polar_deg": (1, "iu"),
    "azimuth_deg": (1, "iu"),
}
NPZ = NpzSet(
    "ETH80",
    "eth80_*.npz",
    {"eth80_64_inst1-5.npz": "48e33ccb07bc4ff95b4f7335320df1af392e4be28603c13e44c5e8bced4303c4"},
    (3,),
    REQUIRED,
    ("category_id", "instance", "polar_deg", "azimuth_deg"),
    {"category_names": NAMES},
)


class ETH80(RecordedData):
    """ETH-80: 8 categories, 41 views of each object on the upper hemisphere, with masks.

    The images are in an NPZ file, ``<data root>/ETH80/eth80_*.npz``, with the arrays ``images``
    (N, H, W, 3) uint8, ``masks`` (N, H, W) of 0 and 1, and (N,) each ``category_id`` from 0 on,
    ``instance``, ``polar_deg`` from the vertical and ``azimuth_deg``. The known file has objects 1
    to 5 of each category; files of further objects or views beside it are read with it. There is no
    official division: name the familiar views, such as ``views.elevation: [0, 24]``, or
    ``test_instances``, or both.

    Args:
        size: Side of the images, in pixels; larger images are reduced by averaging boxes of pixels.
        colour: Three channels; if False, their mean.
        masked: Make the background black.
        kwargs: See `RecordedData`.

    Source: B. Leibe, B. Schiele, Analyzing Appearance and Contour Based Methods for Object
    Categorization, CVPR 2003.
    """

    num_classes = 8
    class_names = NAMES
    source: ClassVar[str] = "Leibe, Schiele 2003; <data root>/ETH80/eth80_64_inst1-5.npz"
    factors = ("azimuth", "elevation", "instance")
    has_masks = True

    def __init__(
        self, *, size: Positive = 32, colour: bool = True, masked: bool = False, **kwargs: Any
    ) -> None:
        self.image_shape = (3 if colour else 1, size, size)
        self.padding = "zeros" if masked else "border"  # the background is blue
        self.identity = Identity("eth80", "1", "unknown")
        super().__init__(**kwargs)
        self.identity = Identity("eth80", "1", NPZ.checksum(self.data_root))
        self.colour = colour
        self.masked = masked

    def read(self) -> Recording:
        """Read the file, or the parts of the set."""
        arrays = NPZ.read(self.data_root, self.identity.checksum)
        images = to_tensor(arrays["images"], colour=self.colour, name="eth80")
        masks = torch.from_numpy(arrays["masks"])[:, None]
        if masks.max() > 1:
            raise UserError(f"the masks of eth80's file are 0 and 1; found {int(masks.max())}")
        targets, instance, polar, azimuth = (
            torch.from_numpy(arrays[name].astype(np.int64))
            for name in ("category_id", "instance", "polar_deg", "azimuth_deg")
        )
        if not 0 <= int(targets.min()) <= int(targets.max()) < self.num_classes:
            raise UserError(
                f"categories of eth80's file are 0 to {self.num_classes - 1}; "
                f"found {int(targets.min())} to {int(targets.max())}"
            )
        size = self.image_shape[1]
        all_images = Split(
            shrink(images * masks if self.masked else images, size, "eth80"),
            targets,
            torch.arange(len(targets)),
            {"azimuth": azimuth, "elevation": 90 - polar, "instance": instance},
            (shrink(masks * 255, size, "eth80") > 127).to(torch.uint8),
        )
        return Recording(all_images)

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line that says if files are there."""
        return NPZ.status_line(data_root)
