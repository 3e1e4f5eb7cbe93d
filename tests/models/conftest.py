"""Small versions of all models."""

from typing import Any

import pytest
import torch

from capsbench.names import find

DR = {"channels": 8, "primary_types": 3, "primary_dim": 4, "class_dim": 6, "decoder": (8,)}
EM = {"channels": 8, "primary_types": 3, "types": (4, 5), "strides": (2, 1), "iterations": 2}
# Arguments of models whose defaults are too large for a test. Other models are tested with
# defaults.
SMALL: dict[str, dict[str, Any]] = {
    "capsnet": {"channels": 4, "primary_types": 4},
    "capsnet-dr": DR,
    "capsnet-dr-code": DR,
    "capsnet-em": EM,
    "capsnet-em-code": EM,
    "capsnet-em-paper": EM,
    "capsnet-em-small": EM,
    "cnn-antialiased": {"width": 8, "hidden": 16},
    "cnn-coordconv": {"width": 8, "hidden": 16},
    "cnn-hinton2018": {"channels": (4, 6), "hidden": 16},
    "cnn-multimnist": {"channels": (6, 4), "hidden": 16},
    "cnn-sabour2017": {"channels": (6, 6, 4), "hidden": (16, 12)},
    "cnn-sabour2017-code": {"channels": (6, 4), "hidden": 16},
    "cnn-orbit-pool": {"width": 3, "rotations": 4},
    "cnn-p4": {"width": 2},
    "cnn-p4m": {"width": 2},
    "cnn-stn": {"width": 8, "hidden": 16, "localisation": 4},
    "cnn-small": {"width": 8, "hidden": 16},
    "efficient-capsnet": {"channels": (4, 6, 6, 16), "decoder": (8,)},
    "resnet20": {"width": 4, "blocks": 1},
    "transforming-autoencoder": {"recognition": 6, "generation": 8},
}


@pytest.fixture
def small():
    """Return a function from a model's name to the arguments of a small version."""
    return lambda name: SMALL.get(name, {})


@pytest.fixture
def build(small):
    """Return a function that builds a small model by name; given arguments take precedence."""

    def make(name, image_shape=(1, 28, 28), num_classes=10, **more):
        torch.manual_seed(0)
        return find("models", name).load()(
            image_shape=image_shape, num_classes=num_classes, **(small(name) | more)
        )

    return make
