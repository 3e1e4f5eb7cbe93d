"""ToyNORB: rendered toys on smallNORB's grid of views, with the exact pose of every part."""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, Field
from rich.console import Console

from capsbench.capsules.kernels.code_cache import cache_folder
from capsbench.data.batches import Split
from capsbench.data.images import Identity
from capsbench.data.recorded import RecordedData, Recording, cropped_shape
from capsbench.datamodules._toynorb_grid import AZIMUTHS, ELEVATIONS, render_grid, scenes
from capsbench.datamodules._toys import CATEGORIES, INSTANCES, TEST_INSTANCES, all_toys
from capsbench.files.arrays import load_arrays, save_arrays
from capsbench.files.lease import LEASE, lease
from capsbench.fingerprint import fingerprint
from capsbench.progress import progress_bar
from capsbench.rendering.lighting import LIGHTINGS
from capsbench.rendering.scene import Parts
from capsbench.viewpoint.warp import Padding

LARGEST = 256  # pixels: 48,600 such images take 6 GB
# Of the toys' parts, see `checksum`. If it changes, or the rendering does, raise the version.
TOYS = "sha256:1aecb1c77a19ece9f42f1f22bc9e3c0e4ea02cf6c6ca695fe5806e3b8035b20f"
IMAGES = len(CATEGORIES) * INSTANCES * len(ELEVATIONS) * len(AZIMUTHS) * len(LIGHTINGS)
Arrays = dict[str, NDArray[Any]]


def _distinct(distances: tuple[float, ...]) -> tuple[float, ...]:
    if len(set(distances)) < len(distances):
        raise ValueError("distances must differ")
    return distances


Distances = Annotated[
    tuple[Annotated[float, Field(gt=0)], ...], Field(min_length=1), AfterValidator(_distinct)
]


class ToyNORB(RecordedData):
    """Animals, humans, airplanes, trucks and cars, rendered as smallNORB was photographed.

    Five categories of ten toys, each from nine elevations and eighteen azimuths in six lightings:
    48,600 images. Instances 4, 6, 7, 8 and 9 are for training and 0, 1, 2, 3 and 5 for the test,
    as in smallNORB. A toy is a union of ellipsoids, boxes and cylinders. Each image has the poses
    of the object and of its parts, (1 + M, 4, 4), in the coordinates of the camera, with zeros for
    parts that the toy does not have. ``rearranged`` are the test images with the toys' parts in
    each other's places. The set does not replace smallNORB: report results on it as on ToyNORB.

    There is no download: the images are rendered in about a minute, and cached with their checksum
    in the user's cache folder.

    Source: our own; the grid is that of Y. LeCun, F. J. Huang, L. Bottou, Learning Methods for
    Generic Object Recognition with Invariance to Pose and Lighting, CVPR (2004).

    Args:
        size: Side of the rendered images, in pixels.
        crop: Side of the square that is cropped from the middle, in pixels; no crop if left out.
        stereo: Two channels, from a left and a right eye.
        distances: Distances of the camera, each with all images; 1 is the usual one.
        paint: Seed of the toys' shades of grey.
        kwargs: See `RecordedData`.

    Raises:
        UserError: The crop is larger than the images.
    """

    identity = Identity("toynorb", "1", TOYS)
    num_classes = len(CATEGORIES)
    class_names = CATEGORIES
    source: ClassVar[str] = "rendered, on smallNORB's grid (LeCun, Huang, Bottou 2004); no download"
    factors = ("azimuth", "elevation", "lighting", "distance", "instance")
    has_masks = True
    padding: Padding = "border"

    def __init__(
        self,
        *,
        size: Annotated[int, Field(ge=1, le=LARGEST)] = 48,
        crop: int | None = None,
        stereo: bool = False,
        distances: Distances = (1.0,),
        paint: Annotated[int, Field(ge=0)] = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.size = size
        self.stereo = stereo
        self.distances = distances
        self.paint = paint
        self.image_shape = cropped_shape((2 if stereo else 1, size, size), crop, "toynorb")

    def prepare_data(self) -> None:
        """Render what is missing; Lightning calls this in one process."""
        for distance in self.distances:
            self._rendered(distance)

    def read(self) -> Recording:
        """Return the rendered images of all distances, one after the other."""
        images = self._images(rearranged=False)
        test = torch.isin(images.factors["instance"], torch.tensor(TEST_INSTANCES))
        return Recording(images, test)

    def rearrange(self) -> Split:
        """Return the test images, each with its toy's parts in each other's places."""
        all_images = self._images(rearranged=True)
        return all_images[torch.isin(all_images.index, self.split("test").index)]

    def _images(self, *, rearranged: bool) -> Split:
        """Return all images; of rearranged toys only the test images, with the same numbers."""
        parts = [self._rendered(distance, rearranged=rearranged) for distance in self.distances]
        joined = {
            name: torch.from_numpy(np.concatenate([arrays[name] for arrays in parts]))
            for name in parts[0]
        }
        count = len(parts[0]["category"])
        distances = torch.tensor(self.distances, dtype=torch.float64).repeat_interleave(count)
        recorded = {name: joined[name] for name in ("azimuth", "elevation", "lighting", "instance")}
        index = torch.cat(
            [n * IMAGES + torch.from_numpy(arrays["index"]) for n, arrays in enumerate(parts)]
        )
        return Split(
            joined["images"],
            joined["category"],
            index,
            recorded | {"distance": distances},
            joined["masks"],
            joined["poses"].repeat_interleave(len(LIGHTINGS), dim=0),
        )

    @classmethod
    def availability(cls, data_root: Path) -> str:
        """Return one line with the cache folder of the rendered images."""
        return f"rendered when needed, in about a minute; kept in {_folder()}"

    def _rendered(self, distance: float, *, rearranged: bool = False) -> Arrays:
        """Return the images of one distance, with their factors, from the cache or rendered."""
        settings = {
            "toys": self.identity._asdict(),
            "size": self.size,
            "stereo": self.stereo,
            "distance": distance,
            "rearranged": rearranged,
        }
        path = _folder() / f"{fingerprint(settings)}.npz"
        if (arrays := load_arrays(path)) is not None:
            return arrays
        with lease(path.parent / LEASE, "render ToyNORB"):
            if (arrays := load_arrays(path)) is None:  # else another process has just rendered it
                arrays = self._render(distance, rearranged=rearranged)
                save_arrays(path, arrays)
        return arrays

    def _render(self, distance: float, *, rearranged: bool) -> Arrays:
        instances = TEST_INSTANCES if rearranged else range(INSTANCES)
        toys = all_toys(self.paint, out_of_relation=rearranged)
        with progress_bar(Console(stderr=True)) as progress:
            total = IMAGES * len(instances) // INSTANCES
            bar = progress.add_task("rendering ToyNORB", total=total, note="")
            grid = render_grid(
                self.size,
                stereo=self.stereo,
                distance=distance,
                toys=toys,
                instances=instances,
                advance=lambda count: progress.advance(bar, count),
            )
        # A mask of a stereo pair contains the pixels of both eyes.
        masks = grid.masks.any(dim=1, keepdim=True).to(torch.uint8)
        views = (grid.category, grid.instance, grid.elevation, grid.azimuth)
        each = slice(None, None, len(LIGHTINGS))  # poses do not depend on the lighting
        exact = scenes(*(factor[each] for factor in views), distance=distance, toys=toys).poses
        toy_images = IMAGES // (len(CATEGORIES) * INSTANCES)
        within = torch.arange(len(grid.category)) % toy_images
        index = (INSTANCES * grid.category + grid.instance) * toy_images + within
        more = {"poses": exact.float(), "index": index}
        kept = grid._replace(masks=masks)._asdict() | more
        return {name: values.numpy() for name, values in kept.items()}


def checksum(toys: Parts) -> str:
    """Return the SHA-256 of toys, rounded to a millionth: sines differ in their last digits."""
    digest = sha256()
    for part in toys:
        digest.update((part.double() * 1e6).round().long().numpy().tobytes())
    return f"sha256:{digest.hexdigest()}"


def _folder() -> Path:
    return cache_folder() / "toynorb"
