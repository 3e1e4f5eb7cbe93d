"""Test images and objects that are also in training, from the data of every kind of set."""

import pytest
import torch

from capsbench.data.batches import Split
from capsbench.data.images import Identity
from capsbench.data.overlap import Overlap, measure_overlap
from capsbench.data.recorded import RecordedData, Recording
from capsbench.datamodules.coil import COIL
from capsbench.datamodules.digits import Digits
from capsbench.viewpoint.ranges import ViewRange
from tests.datamodules import roots


class Turntable(RecordedData):
    """Three objects of two classes, from four azimuths; ``repeat`` makes opposite sides equal."""

    identity = Identity("turntable", "1", "none")
    image_shape = (1, 4, 4)
    num_classes = 2
    class_names = ("cup", "cow")
    source = "made for a test"
    factors = ("azimuth", "instance")

    def __init__(self, *, repeat=False, **kwargs):
        super().__init__(**kwargs)
        self.repeat = repeat

    def read(self):
        targets, instance, azimuth = torch.cartesian_prod(
            torch.arange(2), torch.arange(3), torch.arange(0, 360, 90)
        ).unbind(1)
        side = azimuth % 180 if self.repeat else azimuth
        shades = 60 * targets + 20 * instance + side // 90
        images = shades.to(torch.uint8)[:, None, None, None].repeat(1, 1, 4, 4)
        factors = {"azimuth": azimuth, "instance": instance}
        return Recording(Split(images, targets, torch.arange(len(targets)), factors))

    @classmethod
    def availability(cls, data_root):
        return "made"


FRONT = ViewRange(azimuth=[0, 90])


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"test_instances": (0,)}, (8, 0, 2, 0)),
        ({"views": FRONT, "familiar_test_share": 0}, (12, 0, 6, 6)),
        ({"views": FRONT, "familiar_test_share": 0, "repeat": True}, (12, 12, 6, 6)),
        ({"views": FRONT, "test_instances": (2,)}, (8, 0, 2, 0)),
        ({"views": ViewRange(instance=[0, 1]), "familiar_test_share": 0}, (8, 0, 2, 0)),
        ({"views": ViewRange(instance=[0, 1]), "familiar_test_share": 0.25}, (12, 0, None, None)),
    ],
    ids=["other objects", "other views", "equal views", "both", "by view", "some of each"],
)
def test_objects_and_equal_images(arguments, expected):
    data = Turntable(**arguments)
    overlap = measure_overlap(data)
    if expected[2] is None:  # computed in another way
        parts = {name: data.split(name) for name in ("train", "validation", "test")}
        objects = {
            name: set(zip(part.targets.tolist(), part.factors["instance"].tolist(), strict=True))
            for name, part in parts.items()
        }
        known = objects["train"] | objects["validation"]
        expected = (*expected[:2], len(objects["test"]), len(objects["test"] & known))
        assert 0 < expected[3] < expected[2]
    assert tuple(overlap.model_dump().values()) == expected


def test_the_classes_of_coil_are_objects(tmp_path, monkeypatch):
    roots.coil20(tmp_path, monkeypatch)
    views = ViewRange(azimuth=[0, 180])
    overlap = measure_overlap(COIL(data_root=tmp_path, views=views))
    assert (overlap.test_objects, overlap.seen_objects) == (20, 20)


def test_a_set_of_single_images():
    assert measure_overlap(Digits()) == Overlap(test_images=400, equal_images=0)
