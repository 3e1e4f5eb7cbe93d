"""A set of one's own whose tensors are not as declared is refused, whatever it returns."""

from typing import Any

import numpy as np
import pytest
import torch

from capsbench.data.batches import Split
from capsbench.data.images import Identity, ImageDataModule
from capsbench.errors import UserError

COUNT = 12


class Own(ImageDataModule):
    """Noise of two classes, with something changed in the test split."""

    identity = Identity("own", "1", "none")
    image_shape = (1, 8, 8)
    num_classes = 2
    class_names = ("a", "b")
    source = "made for a test"
    factors = ("azimuth",)

    def __init__(self, changed):
        super().__init__()
        self.changed = changed

    def load(self):
        fields: dict[str, Any] = {
            "images": torch.zeros(COUNT, 1, 8, 8, dtype=torch.uint8),
            "targets": torch.arange(COUNT) % 2,
            "index": torch.arange(COUNT),
            "factors": {"azimuth": torch.arange(COUNT)},
        }
        split = Split(**fields)
        return {"train": split, "validation": split, "test": Split(**(fields | self.changed))}

    @classmethod
    def availability(cls, data_root):
        return "made"


WRONG = [
    ({"images": torch.zeros(COUNT, 1, 8, 8)}, "images as uint8"),
    ({"images": torch.zeros(COUNT, 1, 8, 8, dtype=torch.int16)}, "images as uint8"),
    ({"images": torch.zeros(COUNT, 8, 8, dtype=torch.uint8)}, "images as uint8"),
    ({"images": torch.zeros(COUNT, 8, 8, 1, dtype=torch.uint8)}, "images as uint8"),
    ({"targets": torch.arange(COUNT)}, "targets from 0 to 1, got 0 to 11"),
    ({"targets": torch.arange(COUNT) % 2 - 1}, "targets from 0 to 1, got -1 to 0"),
    ({"targets": torch.zeros(COUNT)}, "targets as int64"),
    ({"targets": torch.arange(6) % 2}, r"targets .*\(12,\), got .*\(6,\)"),
    ({"index": torch.zeros(COUNT, dtype=torch.long)}, "index, each once"),
    ({"index": torch.arange(COUNT) - 1}, "index, each once"),
    ({"factors": {}}, "recorded azimuth"),
    ({"factors": {"azimuth": torch.arange(3)}}, "azimuth as numbers"),
    ({"factors": {"azimuth": torch.full((COUNT,), np.nan)}}, "finite numbers in azimuth"),
    ({"masks": torch.ones(COUNT, 1, 4, 4, dtype=torch.uint8)}, "masks"),
    ({"poses": torch.ones(3, 4, 4)}, "poses"),
    (
        {
            "images": torch.zeros(0, 1, 8, 8, dtype=torch.uint8),
            "targets": torch.arange(0),
            "index": torch.arange(0),
        },
        "images, got none",
    ),
]


@pytest.mark.parametrize(("changed", "message"), WRONG)
def test_wrong_tensors_are_refused(changed, message):
    with pytest.raises(UserError, match=f"the test images of own: expected .*{message}"):
        Own(changed).split("train")


def test_images_as_declared_are_loaded():
    assert len(Own({}).split("test")) == COUNT


@pytest.mark.parametrize("names", [("a",), ("a", "a"), ("a", "b", "c")])
def test_each_class_has_a_name(names):
    data = Own({})
    data.class_names = names
    with pytest.raises(UserError, match="as many different names"):
        data.split("train")
