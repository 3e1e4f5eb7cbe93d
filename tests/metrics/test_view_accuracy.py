"""Accuracy at each view as a metric."""

import pytest
import torch

from capsbench.metrics.view_accuracy import ViewAccuracy


def test_images_are_counted_at_their_view():
    metric = ViewAccuracy(3)
    metric.update(0, torch.tensor([True, False, True]))
    metric.update(0, torch.tensor([True]))
    metric.update(2, torch.tensor([False, False]))
    assert metric.compute().tolist() == pytest.approx([0.75, float("nan"), 0.0], nan_ok=True)


def test_it_draws_its_values():
    metric = ViewAccuracy(2)
    metric.update(0, torch.tensor([True, False]))
    metric.update(1, torch.tensor([True]))
    _, axes = metric.plot()
    assert axes.lines[0].get_ydata().tolist() == [0.5, 1.0]
    _, axes = metric.plot([metric.compute(), metric.compute()])
    assert axes.get_ylabel() == "ViewAccuracy"
