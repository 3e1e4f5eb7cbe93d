"""Means of Lie derivatives, against all pairs of images."""

import pytest
import torch

from capsbench.metrics.lie_derivative import MeanLieDerivative


def test_means_agree_with_loops_for_all_batches():
    generator = torch.Generator().manual_seed(0)
    value, derivative = torch.randn(2, 11, 3, 2, generator=generator).double()
    value = value + 5
    metric = MeanLieDerivative([3, 2])
    for rows in (slice(0, 7), slice(7, 8), slice(8, 11)):
        metric.update(value[rows], derivative[rows])
    squared = derivative.square().sum(dim=(1, 2)).mean()
    distances = torch.cdist(value.flatten(1), value.flatten(1)).square()
    pairs = distances.sum() / (11 * 10)
    expected = {
        "absolute": derivative.abs().mean(),
        "squared": squared,
        "relative": (squared / pairs).sqrt(),
    }
    torch.testing.assert_close(metric.compute(), expected)


def test_one_image_has_no_relative_derivative():
    metric = MeanLieDerivative([3])
    metric.update(torch.rand(1, 3), torch.rand(1, 3))
    assert metric.compute()["relative"].isnan()
    assert metric.compute()["absolute"] > 0


@pytest.mark.parametrize("rounding", [0.0, 1e-7])
def test_constant_features_are_undefined(rounding):
    value = torch.tensor([0.1, 0.2, 0.7]) * (1 + rounding * torch.randn(50, 1))
    metric = MeanLieDerivative([3])
    metric.update(value, torch.zeros(50, 3))
    means = metric.compute()
    assert means["absolute"] == means["squared"] == 0
    assert means["relative"].isnan()
