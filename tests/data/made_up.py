"""Small data sets for tests, and access to their images."""

import torch

from capsbench.data.batches import Split
from capsbench.data.images import Identity, ImageDataModule
from capsbench.data.recorded import RecordedData, Recording

AZIMUTHS = (0, 90, 180, 270)
ELEVATIONS = (30, 40)


class Flat(ImageDataModule):
    """Thirty images of three classes, each of one shade, with no view recorded."""

    identity = Identity("flat", "1", "none")
    image_shape = (1, 8, 8)
    num_classes = 3
    class_names: tuple[str, ...] = ("a", "b", "c")
    source = "made up"
    with_novel = False

    def load(self):
        rows = torch.arange(60)
        images = (4 * rows).to(torch.uint8)[:, None, None, None].expand(60, 1, 8, 8).clone()
        images[:, :, 2, 5] = 255
        whole = Split(images, rows % 3, rows)
        splits = {"train": whole[:30], "validation": whole[30:45], "test": whole[45:]}
        return splits | ({"novel": whole[:6]} if self.with_novel else {})

    @classmethod
    def availability(cls, data_root):
        return "made up"


class Turntable(RecordedData):
    """Two classes of four instances, each from every azimuth and elevation, with masks."""

    identity = Identity("turntable", "1", "none")
    image_shape = (1, 8, 8)
    num_classes = 2
    class_names = ("cup", "cow")
    source = "made up"
    factors = ("azimuth", "elevation", "instance")
    has_masks = True
    official = False

    def read(self):
        grid = torch.cartesian_prod(
            torch.arange(2), torch.arange(4), torch.tensor(AZIMUTHS), torch.tensor(ELEVATIONS)
        )
        targets, instance, azimuth, elevation = grid.unbind(-1)
        count = len(grid)
        images = torch.full((count, 1, 8, 8), 100, dtype=torch.uint8)
        masks = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
        masks[:, :, 1:3, 2:4] = 1
        images[masks.bool()] = 200
        factors = {"azimuth": azimuth, "elevation": elevation, "instance": instance}
        split = Split(images, targets, torch.arange(count), factors, masks, grid.float())
        return Recording(split, instance >= 2 if self.official else None)

    @classmethod
    def availability(cls, data_root):
        return "made up"


class OfficialTurntable(Turntable):
    """The same, whose instances 2 and 3 are its own test."""

    official = True


def evaluated_images(data: ImageDataModule, split, at=None):
    """Return each image of a pass, by its number in the source."""
    images: dict[int, torch.Tensor] = {}
    for batch in data.evaluation.batches(split, "cpu", at):
        images |= dict(zip(batch.index.tolist(), batch.images, strict=True))
    return images


class UnevenTurntable(Turntable):
    """Official test images of four objects: 3, 1, 4 and 4 images from the four azimuths.

    Those of class 1 from azimuths below 270 degrees have a bright first pixel, and so has a single
    one of class 0, from azimuth 0.
    """

    test_azimuths = (0, 0, 0, 90, *4 * (180,), *4 * (270,))
    test_targets = (0, 1, 0, 1, *2 * (0, 1), *2 * (0, 1))

    def read(self):
        training = super().read().images
        azimuth = torch.tensor(self.test_azimuths)
        targets = torch.tensor(self.test_targets)
        count = len(azimuth)
        images = torch.zeros(count, 1, 8, 8, dtype=torch.uint8)
        images[(targets == 1) & (azimuth < 270), :, 0, 0] = 255
        images[2, :, 0, 0] = 255
        instance = 10 + torch.arange(count) // 3
        factors = {"azimuth": azimuth, "elevation": 30 + 0 * azimuth, "instance": instance}
        test = Split(images, targets, 100 + torch.arange(count), factors)
        known = Split(training.images, training.targets, training.index, training.factors)
        joined = Split(
            torch.cat([known.images, test.images]),
            torch.cat([known.targets, test.targets]),
            torch.cat([known.index, test.index]),
            {name: torch.cat([known.factors[name], test.factors[name]]) for name in factors},
        )
        return Recording(joined, torch.arange(len(joined)) >= len(known))
