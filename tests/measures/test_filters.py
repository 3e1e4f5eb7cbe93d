"""Filters as a measure: the convolution that is compared, and notes without one."""

import numpy as np
import pytest
import torch
from pydantic import ValidationError
from torch import nn

from capsbench.contracts import Model, Prediction
from capsbench.errors import NotMeasuredError, UserError
from capsbench.measures._filter_copies import rotated_copies
from capsbench.measures.filters import FiltersConfig
from capsbench.names import find
from tests.data.made_up import Flat
from tests.measures.computing import compute, number


class Network(Model):
    """Modules that are never called."""

    def __init__(self, *modules):
        super().__init__(image_shape=(1, 8, 8), num_classes=3)
        self.layers = nn.ModuleList(modules)

    def forward(self, images, views=None):
        return Prediction(torch.zeros(len(images), 3))

    def loss(self, prediction, batch, progress):
        raise AssertionError("a measure trains nothing")


def compared(model, **arguments):
    result = compute("filters", model, Flat(), **arguments)
    assert all(value.n == 0 for value in result.values)
    return result


@pytest.mark.parametrize("value", [torch.nan, torch.inf])
def test_filters_that_are_not_finite_are_not_compared(value):
    layer = conv(8, 5)
    layer.weight.data[1:4] = value
    with pytest.raises(NotMeasuredError, match="3 of 8 filters are not finite"):
        compared(Network(layer))


def conv(count, size, channels=1):
    torch.manual_seed(0)
    return nn.Conv2d(channels, count, size)


def test_the_first_convolution_of_the_image_is_compared():
    first = conv(8, 7)
    with torch.no_grad():
        first.weight[4:] = torch.rot90(first.weight[:4], dims=(2, 3))
    result = compared(Network(conv(9, 5, channels=3), first, conv(6, 5)), sets=5)
    assert number(result, metric="copy_share") == 1
    assert number(result, metric="similarity") == pytest.approx(1)
    assert number(result, metric="filters") == 8
    threshold = number(result, metric="similarity_threshold")
    assert number(result, metric="random_similarity") < threshold < 0.95
    assert result.per_image["copied_filter"].tolist() == [4, 5, 6, 7, 0, 1, 2, 3]
    assert result.per_image["copy_angle"].tolist() == [270] * 4 + [90] * 4
    assert result.per_image["random_filter_similarity"].shape == (5, 8)


def test_arguments_reach_the_comparison():
    second = conv(7, 5)
    model = Network(conv(6, 5), second)
    result = compared(model, layer="layers.1", null="pixels", sets=3)
    expected = rotated_copies(second.weight, null="pixels", null_sets=3)
    similarities = result.per_image["random_filter_similarity"]
    np.testing.assert_allclose(similarities, expected.random_similarity)
    assert number(result, metric="copy_share") == float(expected.share)
    with pytest.raises(UserError, match=r"layers\.7"):
        compared(model, layer="layers.7")


@pytest.mark.parametrize(
    ("model", "problem"),
    [
        (Network(nn.Linear(3, 3)), "no convolution"),
        (Network(conv(1, 5)), "only one"),
        (Network(conv(4, 2)), "2 x 2"),
        (Network(conv(4, (5, 3))), "5 x 3"),
    ],
    ids=["none", "one", "small", "oblong"],
)
def test_filters_that_cannot_be_compared_are_noted(model, problem):
    result = compared(model, sets=2)
    assert not result.values
    assert problem in result.notes[0]


def test_constant_filters_are_noted():
    constant = conv(4, 5)
    nn.init.ones_(constant.weight)
    result = compared(Network(constant), sets=2)
    assert not result.values
    assert "varies" in result.notes[0]


@pytest.mark.parametrize("name", ["cnn-small", "resnet20", "capsnet-dr", "cnn-p4"])
def test_registered_models_have_filters(name):
    model = find("models", name).load()(image_shape=(1, 28, 28), num_classes=10)
    assert number(compared(model, sets=1), metric="copy_share") >= 0


@pytest.mark.parametrize("content", [{"sets": 0}, {"null": "noise"}], ids=["no set", "null"])
def test_invalid_arguments_are_refused(content):
    with pytest.raises(ValidationError):
        FiltersConfig.model_validate({"measure": "filters", **content})
