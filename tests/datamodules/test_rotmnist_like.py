"""RotMNIST-like: one angle for each digit, against scipy's rotation of the stored image."""

import numpy as np
import pytest
import torch
from scipy import ndimage
from scipy.stats import kstest

from capsbench.datamodules.mnist import MNIST
from capsbench.datamodules.rotmnist_like import RotMNISTLike, angles
from capsbench.viewpoint.ranges import ViewRange
from tests.datamodules import roots


@pytest.fixture
def root(tmp_path, monkeypatch):
    roots.idx_set(tmp_path, monkeypatch, MNIST)
    return tmp_path


def test_images_are_those_of_mnist_turned_counter_clockwise(root):
    data, stored = (cls(data_root=root, views=ViewRange()) for cls in (RotMNISTLike, MNIST))
    digits, test = stored.read("train"), stored.read("t10k")
    for split, every, file in (
        (data.split("train"), digits, "train"),
        (data.split("validation"), digits, "train"),
        (data.split("familiar"), test, "test"),
    ):
        turns = angles(split.index, file)
        for row in range(3):
            original = every.images[split.index[row], 0].double().numpy()
            turned = ndimage.rotate(original, float(turns[row]), reshape=False, order=1)
            inside = np.zeros((28, 28), bool)
            inside[6:22, 6:22] = True  # in the circle; scipy treats the border in another way
            difference = np.abs(split.images[row, 0].numpy() - turned)
            assert difference[inside].max() <= 1
            assert split.targets[row] == every.targets[split.index[row]]


def test_a_digit_has_one_angle_from_the_whole_circle():
    turns = angles(torch.arange(12_000), "train")
    assert kstest(turns.numpy() / 360, "uniform").pvalue > 0.01
    some = torch.tensor([7, 4321, 11])
    assert torch.equal(angles(some, "train"), turns[some])
    assert not torch.equal(angles(some, "test"), turns[some])
