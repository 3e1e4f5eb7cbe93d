"""Which convolution of a model is asked for copies among its filters, and what is told."""

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter, ValidationError
from torch import nn

from capsbench.contracts import Model, Prediction
from capsbench.errors import UserError
from capsbench.measures import MeasureEntry
from capsbench.measures._filter_copies import turned_copies
from capsbench.measures.filters import measure
from capsbench.names import find
from tests.data.made_up import Flat

ENTRY = TypeAdapter[MeasureEntry](MeasureEntry)


def entry(**content):
    return ENTRY.validate_python({"measure": "filters", **content})


class Network(Model):
    """Modules that are never called."""

    def __init__(self, *modules):
        super().__init__(image_shape=(1, 8, 8), num_classes=3)
        self.layers = nn.ModuleList(modules)

    def forward(self, images, views=None):
        return Prediction(torch.zeros(len(images), 3))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def measured(asked, model):
    steps = []
    found = measure(asked, model, Flat(), "cpu", lambda: steps.append(1))
    assert len(steps) == asked.steps
    assert all(np.isfinite(list(found.values.values())))
    assert found.n == 0
    return found


def conv(count, size, channels=1):
    torch.manual_seed(0)
    return nn.Conv2d(channels, count, size)


def test_copies_are_found_in_the_first_convolution_of_the_image():
    first = conv(8, 7)
    with torch.no_grad():
        first.weight[4:] = torch.rot90(first.weight[:4], dims=(2, 3))
    found = measured(entry(sets=5), Network(conv(9, 5, channels=3), first, conv(6, 5)))
    assert found.values["filters/share"] == 1
    assert found.values["filters/similarity"] == pytest.approx(1)
    assert found.values["filters/count"] == 8
    assert found.values["filters/threshold"] < 0.95
    assert found.values["filters/random similarity"] < found.values["filters/threshold"]
    assert found.samples["source"].tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert found.samples["angle"].tolist() == [270] * 4 + [90] * 4
    assert found.samples["random"].shape == (5, 8)


def test_arguments_reach_the_comparison():
    second = conv(7, 5)
    model = Network(conv(6, 5), second)
    found = measured(entry(layer="layers.1", null="pixels", sets=3), model)
    expected = turned_copies(second.weight, null="pixels", null_sets=3)
    np.testing.assert_allclose(found.samples["random"], expected.random)
    assert found.values["filters/share"] == float(expected.share)
    with pytest.raises(UserError, match=r"layers\.7"):
        measured(entry(layer="layers.7"), model)


@pytest.mark.parametrize(
    ("model", "why"),
    [
        (Network(nn.Linear(3, 3)), "no convolution"),
        (Network(conv(1, 5)), "only one"),
        (Network(conv(4, 2)), "2 x 2"),
        (Network(conv(4, (5, 3))), "5 x 3"),
    ],
    ids=["none", "one", "small", "oblong"],
)
def test_what_cannot_be_compared_is_told(model, why):
    found = measured(entry(sets=2), model)
    assert found.values == {}
    assert why in found.notes[0]


def test_filters_that_do_not_vary_are_told():
    flat = conv(4, 5)
    nn.init.ones_(flat.weight)
    found = measured(entry(sets=2), Network(flat))
    assert found.values == {}
    assert "varies" in found.notes[0]


@pytest.mark.parametrize("name", ["cnn-small", "resnet20", "capsnet-dr", "cnn-p4"])
def test_our_models_have_filters(name):
    model = find("models", name).load()(image_shape=(1, 28, 28), num_classes=10)
    found = measured(entry(sets=1), model)
    assert "filters/share" in found.values


@pytest.mark.parametrize("content", [{"sets": 0}, {"null": "noise"}], ids=["no set", "null"])
def test_what_makes_no_sense_is_refused(content):
    with pytest.raises(ValidationError):
        entry(**content)
