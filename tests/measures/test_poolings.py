"""Pose read-out around max-poolings: the input encodes the position, the output does not."""

import pytest
import torch
from torch import nn

from capsbench.contracts import Model, Prediction
from capsbench.measures._poolings import capture_poolings, max_poolings
from capsbench.measures._probe_inputs import NO_POOLINGS
from capsbench.names import find
from capsbench.values import select
from tests.measures.computing import compute, number


class Pooling(Model):
    """Smooths the image and keeps the largest value over all positions."""

    def __init__(self, pooling=True):
        super().__init__(image_shape=(1, 32, 32), num_classes=10)
        self.smooth = nn.AvgPool2d(4)
        self.largest = nn.AdaptiveMaxPool2d(1) if pooling else nn.AdaptiveAvgPool2d(1)
        self.classes = nn.Linear(1, 10)

    def forward(self, images, views=None):
        return Prediction(self.classes(self.largest(self.smooth(images)).flatten(1)))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def measured(model, *, poolings=True):
    data = find("datamodules", "digits").load()()
    arguments = {"factors": ["shift_x"], "images": 300, "views": {"shift": [-6, 6]}}
    return compute("pose-readout", model.eval(), data, poolings=poolings, **arguments)


def test_global_max_pooling_discards_the_position():
    result = measured(Pooling())
    assert number(result, metric="r2", factor="shift_x", layer="before largest") > 0.8
    assert number(result, metric="r2", factor="shift_x", layer="after largest") < 0.1


def test_a_model_without_max_pooling_has_a_note():
    result = measured(Pooling(pooling=False))
    assert NO_POOLINGS in result.notes
    assert not select(result.values, layer="before largest")


def test_poolings_are_measured_on_request_only():
    assert not select(measured(Pooling(), poolings=False).values, layer="before largest")


@pytest.mark.parametrize(
    ("name", "count"), [("cnn-small", 3), ("cnn-orbit-pool", 3), ("capsnet-em", 0)]
)
def test_inputs_and_outputs_of_the_models_poolings_are_captured(name, count):
    arguments = {"width": 2} if name.startswith("cnn") else {}
    model = find("models", name).load()(image_shape=(1, 32, 32), num_classes=10, **arguments).eval()
    assert len(max_poolings(model)) == count
    with capture_poolings(model) as captured, torch.no_grad():
        model(torch.rand(2, 1, 32, 32))
    assert len(captured) == 2 * count
    for path in max_poolings(model):
        assert captured[f"before {path}"].dim() == 4
        assert captured[f"before {path}"].numel() >= captured[f"after {path}"].numel()
