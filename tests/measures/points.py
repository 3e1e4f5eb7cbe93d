"""Images with one bright pixel, whose position depends on the class."""

import torch

from capsbench.data.batches import Split
from tests.data.made_up import Flat


class BrightPixels(Flat):
    """Images of class 1 have a bright pixel at x = 4, y = 4; of class 0 at x = 5, y = 4."""

    num_classes = 2
    class_names = ("a", "b")

    def load(self):
        rows = torch.arange(60)
        images = torch.zeros(60, 1, 8, 8, dtype=torch.uint8)
        images[rows, :, 4, 5 - rows % 2] = 255
        whole = Split(images, rows % 2, 100 + rows)
        return {"train": whole[:20], "validation": whole[20:30], "test": whole[30:]}


def by_point(images):
    """Return scores (B, 2): class 1 if the pixel at (4, 4) is bright."""
    point = images[:, 0, 4, 4]
    return torch.stack([0.5 - point, point - 0.5], dim=1)
