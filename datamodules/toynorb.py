"""ToyNORB: rendered toys on smallNORB's grid of views, with the exact pose of every part."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from rich.console import Console
from torch import Tensor

from capsbench.arguments import Positive
from capsbench.capsules.kernels.native import cache_folder
from capsbench.data.batches import Split
from capsbench.data.images import Identity
from capsbench.data.recorded import RecordedData, Recording, middle
from capsbench.datamodules._toynorb_grid import render_grid, scenes
from capsbench.datamodules._toys import CATEGORIES, TEST_INSTANCES, all_toys
from capsbench.files.arrays import load_arrays, save_arrays
from capsbench.files.locking import locked
from capsbench.progress import progress_bar
from capsbench.records import fingerprint
from capsbench.viewpoint.warp import Padding

Arrays = dict[str, NDArray[Any]]
Distance = Annotated[float, Field(gt=0)]


class ToyNORB(RecordedData):
    """Animals, humans, airplanes, trucks and cars, rendered as smallNORB was photographed.

    Five categories of ten toys, each from nine elevations and eighteen azimuths in six lightings:
    48,600 images, of which those of instances 4, 6, 7, 8 and 9 are for training and of 0, 1, 2, 3
    and 5 for the test, as in smallNORB. A toy is a union of ellipsoids, boxes and cylinders. The
    poses of the object and of its parts come with each image, (1 + M, 4, 4), in the coordinates of
    the camera, zeros where a toy has fewer parts than others. It stands for no other set: numbers
    on it are ToyNORB's.

    There is no download: the images are rendered in about a minute, and kept with their checksum in
    the user's cache folder.

    Source: our own; the grid is that of Y. LeCun, F. J. Huang, L. Bottou, Learning Methods for
    Generic Object Recognition with Invariance to Pose and Lighting, CVPR (2004).

    Args:
        size: Pixels of the side of the images that are rendered.
        crop: Pixels of the side of their middle, which is shown; all if left out.
        stereo: Two channels, from a left and a right eye.
        distances: Of the camera, each with all images; 1 is the usual one.
        rearranged: Put the parts of the toys that are tested out of relation.
        paint: Seed of the toys' shades of grey.
        kwargs: See `RecordedData`.

    Raises:
        UserError: The crop is larger than the images.
    """

    identity = Identity("toynorb", "1", "rendered")
    num_classes = len(CATEGORIES)
    class_names = CATEGORIES
    source: ClassVar[str] = "rendered, on smallNORB's grid (LeCun, Huang, Bottou 2004); no download"
    factors = ("azimuth", "elevation", "lighting", "distance", "instance")
    has_masks = True
    padding: Padding = "border"

    def __init__(
        self,
        *,
        size: Positive = 48,
        crop: int | None = None,
        stereo: bool = False,
        distances: Annotated[tuple[Distance, ...], Field(min_length=1)] = (1.0,),
        rearranged: bool = False,
        paint: Annotated[int, Field(ge=0)] = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.stereo = stereo
        self.distances = distances
        self.rearranged = rearranged
        self.paint = paint
        self.image_shape = middle((2 if stereo else 1, size, size), crop, "toynorb")

    def prepare_data(self) -> None:
        """Render what is missing; Lightning calls this in one process."""
        for distance in self.distances:
            self._rendered(distance)

    def read(self) -> Recording:
        """The rendered images of all distances, one after the other."""
        found = [self._rendered(distance) for distance in self.distances]
        joined = {
            name: torch.from_numpy(np.concatenate([arrays[name] for arrays in found]))
            for name in found[0]
        }
        category, instance = joined["category"], joined["instance"]
        count = len(category)
        distance = torch.tensor(self.distances).repeat_interleave(count // len(found))
        recorded = {name: joined[name] for name in ("azimuth", "elevation", "lighting", "instance")}
        images = Split(
            joined["images"],
            category,
            torch.arange(count),
            recorded | {"distance": distance},
            joined["masks"],
            torch.cat(list(map(self._poses, found, self.distances))),
        )
        return Recording(images, torch.isin(instance, torch.tensor(TEST_INSTANCES)))

    @classmethod
    def found(cls, data_root: Path) -> str:
        """Where the rendered images are kept."""
        return f"rendered when needed, in about a minute; kept in {_folder()}"

    def _rendered(self, distance: float) -> Arrays:
        """The images of one distance, with their factors: from the cache folder, or rendered."""
        settings = {
            "version": self.identity.version,
            "size": self.size,
            "stereo": self.stereo,
            "distance": distance,
            "rearranged": self.rearranged,
            "paint": self.paint,
        }
        path = _folder() / f"{fingerprint(settings)}.npz"
        if (arrays := load_arrays(path)) is not None:
            return arrays
        with locked(path.parent):
            if (arrays := load_arrays(path)) is None:  # else another process has just rendered it
                arrays = self._render(distance)
                save_arrays(path, arrays)
        return arrays

    def _render(self, distance: float) -> Arrays:
        with progress_bar(Console(stderr=True)) as progress:
            bar = progress.add_task("rendering ToyNORB", total=None, note="")
            grid = render_grid(
                self.size,
                stereo=self.stereo,
                distance=distance,
                toys=all_toys(self.paint, out_of_relation=self.rearranged),
                advance=lambda count: progress.advance(bar, count),
            )
        # Of a stereo pair, where either eye sees the object.
        masks = grid.masks.any(dim=1, keepdim=True).to(torch.uint8)
        kept = grid._replace(masks=masks)._asdict()
        return {name: values.numpy() for name, values in kept.items()}

    def _poses(self, arrays: Arrays, distance: float) -> Tensor:
        """(N, 1 + M, 4, 4) float32; those of all lightings are the same, and computed once."""
        names = ("category", "instance", "elevation", "azimuth")
        rows = torch.stack([torch.from_numpy(arrays[name]) for name in names], dim=1)
        views, at = rows.unique(dim=0, return_inverse=True)
        toys = all_toys(self.paint, out_of_relation=self.rearranged)
        exact = scenes(*views.unbind(1), distance=distance, toys=toys).poses
        return exact.float()[at]


def _folder() -> Path:
    return cache_folder() / "toynorb"
