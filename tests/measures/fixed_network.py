"""A small network and images made from formulas, the same on every machine."""

from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from capsbench.contracts import Model, Prediction

TORCHATTACKS_FILE = Path(__file__).with_name("torchattacks_values.npz")
SHAPE, NUM_CLASSES, NUM_IMAGES = (2, 6, 6), 5, 8


def waves(*size: int, pace: float) -> Tensor:
    """Return numbers in [-1, 1] that follow no simple pattern."""
    count = torch.Size(size).numel()
    steps = torch.arange(1, count + 1, dtype=torch.float64)
    return torch.sin(pace * steps**1.5).float().reshape(size)


class FixedNetwork(Model):
    """A perceptron with one hidden layer; its parameters are no draws."""

    def __init__(self) -> None:
        super().__init__(image_shape=SHAPE, num_classes=NUM_CLASSES)
        self.first = torch.nn.Parameter(waves(72, 24, pace=0.7))
        self.second = torch.nn.Parameter(waves(24, NUM_CLASSES, pace=1.3))

    def forward(self, images, views=None):
        return Prediction(torch.tanh(images.flatten(1) @ self.first * 0.4) @ self.second)

    def logits(self, prediction):
        """Return the scores in their own precision, for comparisons in float64."""
        return prediction.scores

    def loss(self, prediction, batch, progress):
        raise AssertionError("this network is not trained")


def fixed_images() -> Tensor:
    """Return images (B, C, H, W) in [0, 1], some of their pixels black or white."""
    return (0.5 + 0.6 * waves(NUM_IMAGES, *SHAPE, pace=0.37)).clamp(0, 1)


def fixed_labels() -> Tensor:
    """Return the classes that the network gives to the images; the last is a wrong one."""
    labels = FixedNetwork()(fixed_images()).scores.argmax(dim=-1)
    labels[-1] = (labels[-1] + 1) % NUM_CLASSES
    return labels


@cache
def torchattacks_values() -> dict[str, Tensor]:
    """Return the results of torchattacks on this network, see `make_torchattacks_values`."""
    with np.load(TORCHATTACKS_FILE) as file:
        return {name: torch.from_numpy(array) for name, array in file.items()}
