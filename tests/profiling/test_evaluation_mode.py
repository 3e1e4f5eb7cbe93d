"""Evaluation mode for a while."""

import pytest
from torch import nn

from capsbench.profiling.evaluation_mode import evaluation_mode


def modes(model):
    return [module.training for module in model.modules()]


def test_each_module_returns_to_its_own_mode():
    model = nn.Sequential(nn.Linear(2, 2), nn.Dropout(), nn.BatchNorm1d(2))
    model[2].eval()
    with evaluation_mode(model):
        assert not any(modes(model))
    assert modes(model) == [True, True, True, False]


def test_modes_are_restored_after_an_error():
    model = nn.Dropout()
    with pytest.raises(RuntimeError, match="fails"), evaluation_mode(model):
        raise RuntimeError("fails")
    assert model.training
