"""Properties of every set: disjoint and reproducible splits, labels, views by image."""

from dataclasses import dataclass
from typing import Any

import pytest
import torch

from capsbench.contracts import Batch
from capsbench.data.images import ImageDataModule
from capsbench.data.recorded import RecordedData
from capsbench.datamodules.affnist import AffNIST
from capsbench.datamodules.affnist_like import AffNISTLike
from capsbench.datamodules.cifar10 import CIFAR10
from capsbench.datamodules.coil import COIL
from capsbench.datamodules.digits import Digits
from capsbench.datamodules.eth80 import ETH80
from capsbench.datamodules.fashion_mnist import FashionMNIST
from capsbench.datamodules.folder import Folder
from capsbench.datamodules.kmnist import KMNIST
from capsbench.datamodules.mnist import MNIST
from capsbench.datamodules.multimnist import MultiMNIST
from capsbench.datamodules.rotmnist_like import RotMNISTLike
from capsbench.datamodules.smallnorb import SmallNORB
from capsbench.datamodules.svhn import SVHN
from capsbench.viewpoint.ranges import ViewRange
from tests.datamodules import roots
from tests.datamodules.properties import (
    objects,
    require_disjoint,
    require_same_splits,
    require_same_views,
    splits,
)
from tests.datamodules.test_affnist import official

FAMILIAR = {"azimuth": {"intervals": [[0, 90], [300, 340]]}}


def of_mnist(root, patch):
    roots.idx_set(root, patch, MNIST)


def of_affnist(root, patch):
    of_mnist(root, patch)
    roots.write(root / "affNIST" / "test.mat", official(40, 2))


def of_folder(root, patch):
    rows = [
        (f"{label}{i}{a}.png", label, i, 60 * a, "test" if i == 2 else "train")
        for label in ("cup", "hat", "key")
        for i in range(3)
        for a in range(6)
    ]
    roots.folder(root, [("file", "class", "instance", "azimuth", "split"), *rows])


@dataclass
class Set:
    """A set, how its files are made, and the numbers of its images in train, validation, test."""

    cls: type[ImageDataModule]
    fill: Any
    counts: tuple[int, int, int]
    arguments: dict[str, Any]
    views: dict[str, Any]

    def make(self, root, **more):
        views = ViewRange(rotation=(-20, 20), **self.views)
        return self.cls(data_root=root, views=views, **self.arguments, **more)


SETS = {
    "digits": Set(Digits, lambda root, patch: None, (1198, 199, 400), {}, {}),
    "mnist": Set(MNIST, of_mnist, (110, 10, 40), {}, {}),
    "mnist on a canvas": Set(MNIST, of_mnist, (110, 10, 40), {"canvas": 40}, {}),
    "fashion-mnist": Set(
        FashionMNIST, lambda r, p: roots.idx_set(r, p, FashionMNIST), (110, 10, 40), {}, {}
    ),
    "kmnist": Set(KMNIST, lambda r, p: roots.idx_set(r, p, KMNIST), (110, 10, 40), {}, {}),
    "cifar10": Set(CIFAR10, roots.cifar10, (270, 30, 60), {}, {}),
    "svhn": Set(SVHN, roots.svhn, (210, 20, 60), {}, {}),
    "affnist": Set(AffNIST, of_affnist, (110, 10, 40), {}, {}),
    "affnist-like": Set(AffNISTLike, of_mnist, (110, 10, 40), {}, {}),
    "rotmnist-like": Set(RotMNISTLike, of_mnist, (20, 4, 40), {}, {}),
    "multimnist": Set(MultiMNIST, of_mnist, (110, 10, 80), {"pairs": 2}, {}),
    # 5 categories, 1 toy each (the other validates), 2 elevations, 3 azimuths; 2 toys of 6.
    "smallnorb": Set(SmallNORB, roots.smallnorb, (30, 30, 120), {}, {"azimuth": [0, 40]}),
    "smallnorb, one eye": Set(
        SmallNORB, roots.smallnorb, (60, 60, 240), {"stereo": False}, {"azimuth": [0, 40]}
    ),
    "coil": Set(COIL, roots.coil20, (100, 20, 240), {}, FAMILIAR),
    "eth80": Set(ETH80, roots.eth80_set, (304, 80, 256), {}, {"elevation": [0, 45]}),
    "folder": Set(Folder, of_folder, (6, 6, 18), {"path": "mine"}, {"azimuth": [0, 60]}),
}


@pytest.fixture(params=SETS)
def one(request, tmp_path, monkeypatch):
    """A set, and the function that makes its data module."""
    chosen = SETS[request.param]
    chosen.fill(tmp_path, monkeypatch)
    return chosen, lambda **more: chosen.make(tmp_path, **more)


def test_splits_are_disjoint_balanced_and_reproducible(one):
    chosen, make = one
    data = make()
    parts = splits(data)
    assert [len(part) for part in parts] == list(chosen.counts)
    require_disjoint(parts, one_source=isinstance(data, RecordedData | Digits))
    for part in parts:
        counts = torch.bincount(part.targets, minlength=data.num_classes)
        assert counts.max() - counts.min() <= (12 if data.identity.name == "digits" else 3)
    require_same_splits(data, make(seed=5))


@pytest.mark.parametrize("one", [name for name in SETS if name != "digits"], indirect=True)
def test_labels_belong_to_their_images(one):
    _, make = one
    data = make()
    step = 10 if data.identity.name == "coil20" else 20
    for part in splits(data):
        height, width = part.images.shape[-2:]
        shades = part.images[:, 0, height // 2, width // 2].long()
        assert (shades - (10 + step * part.targets)).abs().max() <= 5


@pytest.mark.parametrize(
    "one", ["smallnorb", "smallnorb, one eye", "eth80", "folder"], indirect=True
)
def test_instances_are_held_out_whole(one):
    _, make = one
    data = make()
    train, validation, test = map(objects, splits(data))
    assert train.isdisjoint(validation)
    if data.identity.name != "eth80":  # which has no test of its own
        assert (train | validation).isdisjoint(test)


def test_batches_keep_the_contract(one):
    _, make = one
    data = make(batch_size=6)
    assert len(data.class_names) == data.num_classes
    stored = data.train_dataloader()[0]
    trained = data.on_after_batch_transfer(stored, 0)
    for batch in (trained, *data.evaluation.batches("test", "cpu")):
        assert isinstance(batch, Batch)
        assert batch.images.shape[1:] == data.image_shape
        assert batch.images.dtype == torch.float32
        assert 0 <= batch.images.min() <= batch.images.max() <= 1
        assert len(batch.images) == len(batch.targets) == len(batch.views) == len(batch.index)
    assert type(data).availability(data.data_root)


def test_an_image_has_the_same_view_in_every_run(one, monkeypatch):
    _, make = one
    require_same_views(make, monkeypatch)


def test_validation_is_seen_from_familiar_views_of_training_images(one):
    _, make = one
    data = make()
    familiar = data.split("validation").factors
    for factor, spread in data.views.recorded.items():
        assert all(spread.contains(value, 360) for value in familiar[factor].tolist())
    for batch in data.evaluation.batches("validation", "cpu"):
        assert batch.views.rotation.abs().max() <= 20


def test_training_batches_are_a_function_of_seed_and_number(one):
    _, make = one
    first, again, other = make(batch_size=6), make(batch_size=6), make(batch_size=6, seed=1)
    for number in (0, 5):
        batches = [
            data.on_after_batch_transfer(data.train_dataloader()[number], 0)
            for data in (first, again, other)
        ]
        assert torch.equal(batches[0].images, batches[1].images)
        assert torch.equal(batches[0].targets, batches[1].targets)
        assert not torch.equal(batches[0].views.rotation, batches[2].views.rotation)
