"""smallNORB: stereo photographs of toys from recorded views, downloaded or local."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch

from capsbench.arguments import Positive
from capsbench.data.batches import Split
from capsbench.data.images import Identity
from capsbench.data.recorded import RecordedData, Recording, cropped_shape
from capsbench.datamodules import _smallnorb_files as norb
from capsbench.datamodules._availability import missing_files, status_line
from capsbench.files.download import fetch

OFFICIAL = Identity(
    "smallnorb",
    "1",
    f"sha256:{sha256(''.join(str(f.sha256) for f in norb.OFFICIAL.values()).encode()).hexdigest()}",
)
PORT = Identity("smallnorb", "1 (port)", "not published")


class SmallNORB(RecordedData):
    """smallNORB: 50 toys of 5 categories from 162 views in 6 lightings, as pairs for two eyes.

    24,300 pairs of 96 x 96 to train on (toys 4, 6, 7, 8 and 9 of each category) and 24,300 to test
    on (toys 0, 1, 2, 3 and 5). The last training toy of each category is held out for validation.
    The novel views of Hinton et al. (2018) are ``views.azimuth: {values: [300, 320, 340, 0, 20,
    40]}`` or ``views.elevation: {values: [30, 35, 40]}``; their training crops are ``views.shift:
    {start: -8, stop: 8, step: 1}`` with ``views.brightness: [-0.247, 0.247]`` and ``views.contrast:
    [0.2, 1.8]``; the measure ``averaged-accuracy`` has their 13 crops.

    Args:
        stereo: Both eyes' images as two channels; if False, each is a separate image (48,600 and
            48,600).
        size: Side of a stored image, in pixels. 48 takes every second pixel, as the authors' code
            does: TensorFlow 1's bilinear ``resize_images`` takes output pixel i at input 2 i, so
            that nothing is interpolated.
        crop: Side of the square that is cropped from the middle, in pixels; no crop if null.
        files: ``official``, the six binary files, each packed (``.gz``) or not, or ``port``, the
            two parquet files of the Hugging Face hub's Ramos-Ramos/smallnorb. One address is known
            of each; use the port if the official one does not answer.
        kwargs: See `RecordedData`.

    Source: Y. LeCun, F. J. Huang, L. Bottou, Learning Methods for Generic Object Recognition with
    Invariance to Pose and Lighting, CVPR 2004.
    """

    num_classes = 5
    class_names = ("animal", "human", "airplane", "truck", "car")
    source: ClassVar[str] = (
        "LeCun, Huang, Bottou 2004; six binary files, or the port's two, under "
        "<data root>/smallnorb"
    )
    factors = ("azimuth", "elevation", "lighting", "instance")
    padding = "border"  # photographs: a black border would reveal the view

    def __init__(
        self,
        *,
        stereo: bool = True,
        size: Literal[48, 96] = 48,
        crop: Positive | None = 32,
        files: Literal["official", "port"] = "official",
        **kwargs: Any,
    ) -> None:
        self.identity = OFFICIAL if files == "official" else PORT
        self.image_shape = cropped_shape((2 if stereo else 1, size, size), crop, "smallnorb")
        super().__init__(**kwargs)
        self.stereo = stereo
        self.size = size
        self.files = files

    def prepare_data(self) -> None:
        """Download what is missing; Lightning calls this in one process."""
        directory = folder(self.data_root)
        official = self.files == "official"
        missing = (
            norb.missing_official(directory) if official else missing_files(directory, norb.PORT)
        )
        fetch(missing, directory, data_set="smallNORB")

    def read(self) -> Recording:
        """Read the files; the training images have the first numbers."""
        self.prepare_data()
        read = norb.read_official if self.files == "official" else norb.read_port
        step = norb.SIDE // self.size
        train, test = (read(folder(self.data_root), part, step) for part in ("training", "testing"))
        images = torch.cat([train.images, test.images])
        targets = torch.cat([train.categories, test.categories])
        factors = {
            name: torch.cat([train.factors[name], test.factors[name]]) for name in self.factors
        }
        official_test = torch.arange(len(images)) >= len(train.images)
        if not self.stereo:
            eyes = images.shape[1]
            images = images.flatten(0, 1)[:, None]
            targets, official_test = (t.repeat_interleave(eyes) for t in (targets, official_test))
            factors = {name: values.repeat_interleave(eyes) for name, values in factors.items()}
        all_images = Split(images, targets, torch.arange(len(images)), factors)
        return Recording(all_images, official_test)

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line that says if the official files, or the port's, are there."""
        directory = folder(data_root)
        missing = [file.name for file in norb.missing_official(directory)]
        if missing and not missing_files(directory, norb.PORT):
            return f"found in {directory}: the port (files: port)"
        return status_line(directory, missing)


def folder(data_root: Path) -> Path:
    """Return the folder of the files."""
    return data_root / "smallnorb"
