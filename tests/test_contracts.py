"""The checks that every model has."""

import math

import pytest
import torch

from capsbench.contracts import Prediction
from capsbench.names import find


def test_checks_leave_each_module_in_its_mode():
    model = find("models", "cnn-small").load()(image_shape=(1, 8, 8), num_classes=3, width=2)
    model.hidden.eval()
    images = torch.rand(3, 1, 8, 8)
    assert model.check_batch_independence(images) < 1e-5
    assert model.check_determinism(images) == 0
    assert model.training and model.classes.training and not model.hidden.training


def test_nan_in_any_output_is_not_a_small_error(monkeypatch):
    model = find("models", "cnn-small").load()(image_shape=(1, 8, 8), num_classes=3, width=2)
    monkeypatch.setattr(
        model, "forward", lambda images: Prediction(images[:, 0, 0], math.nan * images[:, 0, 1])
    )
    images = torch.rand(3, 1, 8, 8)
    assert math.isnan(model.check_batch_independence(images))
    assert math.isnan(model.check_determinism(images))


@pytest.mark.parametrize("name", ["capsnet-dr", "capsnet-em", "capsnet-em-code"])
def test_a_model_checks_each_of_its_routing_layers(name, monkeypatch):
    arguments = {"channels": 4, "primary_types": 2}
    model = find("models", name).load()(image_shape=(1, 28, 28), num_classes=3, **arguments)
    images = torch.rand(2, 1, 28, 28)
    assert 0 < model.check_couplings(images) < 1e-4
    monkeypatch.setattr(model.classes, "check_couplings", lambda *inputs: 0.5)
    assert model.check_couplings(images) == 0.5


def test_a_model_without_routing_has_no_coupling_error():
    model = find("models", "cnn-small").load()(image_shape=(1, 8, 8), num_classes=3, width=2)
    assert model.check_couplings(torch.rand(2, 1, 8, 8)) == 0
