"""Colour photographs: order of colours, checks of archives, class frequencies."""

import numpy as np
import pytest
import torch

from capsbench.datamodules.cifar10 import CIFAR10
from capsbench.datamodules.svhn import SVHN
from capsbench.errors import UserError
from capsbench.viewpoint.ranges import ViewRange
from tests.datamodules import roots
from tests.formats import made

SETS = {"cifar10": (CIFAR10, roots.cifar10), "svhn": (SVHN, roots.svhn)}
FILES = {"cifar10": "CIFAR10/cifar-10-binary.tar.gz", "svhn": "SVHN/test_32x32.mat"}


@pytest.mark.parametrize("name", SETS)
def test_files_that_are_missing_or_damaged(tmp_path, monkeypatch, name):
    cls, fill = SETS[name]
    fill(tmp_path, monkeypatch)
    path = tmp_path / FILES[name]
    assert cls.availability(tmp_path) == f"found in {path.parent}"
    path.write_bytes(path.read_bytes()[:-5] + b"00000")
    with pytest.raises(UserError, match=rf"{path.name} is damaged.*SHA-256"):
        cls(data_root=tmp_path).split("train")
    path.unlink()
    line = cls.availability(tmp_path)
    assert line.startswith("not found")
    assert f"put {path.name}" in line
    with pytest.raises(UserError, match=rf"download.* put {path.name}"):
        cls(data_root=tmp_path).split("train")


@pytest.mark.parametrize("name", SETS)
def test_colours_and_lines_are_in_order(tmp_path, monkeypatch, name):
    cls, fill = SETS[name]
    labelled = roots.labelled

    def drawn(count, classes, shape):
        images, labels = labelled(count, classes, shape)
        images[:, :, 0, :] = 255  # a white line at the top
        images[:, 2, 5:, 3] = 7  # a column without blue
        return images, labels

    monkeypatch.setattr(roots, "labelled", drawn)
    fill(tmp_path, monkeypatch)
    for part in ("train", "test"):
        images = cls(data_root=tmp_path).split(part).images
        assert (images[:, :, 0] == 255).all()
        assert (images[:, 2, 5:, 3] == 7).all()
        assert (images[:, 0, 5:, 3] > 7).all() and (images[:, 2, 5:, 4] > 7).all()


def test_svhn_keeps_its_class_frequencies(tmp_path, monkeypatch):
    roots.svhn(tmp_path, monkeypatch)
    labels = np.repeat([1, 9], [300, 20])
    images = np.zeros((320, 3, 32, 32), np.uint8)
    content = made.svhn(images, labels)
    roots.write(tmp_path / "SVHN" / "train_32x32.mat", content)
    monkeypatch.setitem(SVHN.files, "train", roots.remote("train_32x32.mat", content))
    data = SVHN(data_root=tmp_path)
    assert torch.bincount(data.split("validation").targets)[[1, 9]].tolist() == [30, 2]
    assert torch.bincount(data.split("train").targets)[[1, 9]].tolist() == [270, 18]


@pytest.mark.parametrize("name", SETS)
def test_turned_photographs_have_no_black_corners(tmp_path, monkeypatch, name):
    cls, fill = SETS[name]
    fill(tmp_path, monkeypatch)
    data = cls(data_root=tmp_path, views=ViewRange(rotation=45))
    for batch in data.evaluation.batches("test", "cpu"):
        assert batch.images[..., 0, 0].min() > 0.03


def test_copies_of_cifar10_that_are_not_read_are_mentioned(tmp_path, monkeypatch):
    roots.cifar10(tmp_path, monkeypatch)
    folder = tmp_path / "CIFAR10"
    (folder / "cifar-10-batches-bin").mkdir()
    assert CIFAR10.availability(tmp_path) == f"found in {folder}"
    (folder / CIFAR10.archive.name).unlink()
    assert "(cifar-10-batches-bin: not read" in CIFAR10.availability(tmp_path)
