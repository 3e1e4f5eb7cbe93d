"""Read-out around max-poolings: what goes in tells where it was, what comes out does not."""

import pytest
import torch
from pydantic import TypeAdapter
from torch import nn

from capsbench.contracts import Model, Prediction
from capsbench.measures import MeasureEntry, PoseReadout
from capsbench.measures._poolings import max_poolings, watching_poolings
from capsbench.measures.pose_readout import NO_POOLINGS, measure
from capsbench.names import find


class Pooling(Model):
    """Smooths the image and keeps the largest value of all places."""

    def __init__(self, pooling=True):
        super().__init__(image_shape=(1, 32, 32), num_classes=10)
        self.smooth = nn.AvgPool2d(4)
        self.largest = nn.AdaptiveMaxPool2d(1) if pooling else nn.AdaptiveAvgPool2d(1)
        self.classes = nn.Linear(1, 10)

    def forward(self, images, views=None):
        return Prediction(self.classes(self.largest(self.smooth(images)).flatten(1)))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def measured(model, **arguments):
    content = {
        "measure": "pose-readout",
        "factors": ["shift_x"],
        "images": 300,
        "poolings": True,
        "views": {"shift": [-6, 6]},
        **arguments,
    }
    entry = TypeAdapter(MeasureEntry).validate_python(content)
    assert isinstance(entry, PoseReadout)
    data = find("datamodules", "digits").load()()
    return measure(entry, model.eval(), data, "cpu", lambda: None)


def test_global_max_pooling_forgets_where_it_was():
    values = measured(Pooling()).values
    assert values["readout/shift_x/r2@before largest"] > 0.8
    assert values["readout/shift_x/r2@after largest"] < 0.1


def test_a_model_without_max_pooling_is_told():
    found = measured(Pooling(pooling=False))
    assert NO_POOLINGS in found.notes
    assert not any("before" in key for key in found.values)


def test_they_are_read_only_if_asked_for():
    assert not any("before" in key for key in measured(Pooling(), poolings=False).values)


@pytest.mark.parametrize(
    ("name", "count"), [("cnn-small", 3), ("cnn-orbit-pool", 3), ("capsnet-em", 0)]
)
def test_those_of_the_models_are_found(name, count):
    arguments = {"width": 2} if name.startswith("cnn") else {}
    model = find("models", name).load()(image_shape=(1, 32, 32), num_classes=10, **arguments).eval()
    assert len(max_poolings(model)) == count
    with watching_poolings(model) as seen, torch.no_grad():
        model(torch.rand(2, 1, 32, 32))
    assert len(seen) == 2 * count
    for path in max_poolings(model):
        assert seen[f"before {path}"].dim() == 4
        assert seen[f"before {path}"].numel() >= seen[f"after {path}"].numel()
