"""Calibration error against torchmetrics and loops."""

import math

import pytest
import torch
from torchmetrics.functional.classification import multiclass_calibration_error

from capsbench.errors import UserError
from capsbench.metrics.calibration_error import CalibrationError


def predictions(images=500, classes=4):
    randomness = torch.Generator().manual_seed(0)
    scores = 2 * torch.randn(images, classes, generator=randomness)
    return scores.softmax(-1), torch.randint(classes, (images,), generator=randomness)


def top_label(probabilities, targets):
    """Return the confidence of the most likely class, and if it is correct."""
    confidences, classes = probabilities.max(dim=-1)
    return confidences, classes == targets


def reliability(confidences, correct, **arguments):
    metric = CalibrationError(**arguments)
    metric.update(confidences, correct)
    return metric.compute()


def test_the_error_equals_that_of_torchmetrics():
    probabilities, targets = predictions()
    table = reliability(*top_label(probabilities, targets))
    expected = multiclass_calibration_error(probabilities, targets, num_classes=4, n_bins=15)
    assert float(table.error) == pytest.approx(float(expected), rel=1e-5)


def test_the_table_by_hand():
    confidences = torch.tensor([0.0, 0.1, 0.5, 0.5, 0.7, 0.99, 1.0, 1.0], dtype=torch.float64)
    correct = torch.tensor([0, 1, 0, 1, 1, 0, 1, 1], dtype=torch.bool)
    table = reliability(confidences, correct, bins=4)
    assert table.counts.tolist() == [2, 0, 3, 3]  # the last bin includes 1
    assert table.accuracy.tolist() == pytest.approx([0.5, math.nan, 2 / 3, 2 / 3], nan_ok=True)
    expected = [0.05, math.nan, 1.7 / 3, 2.99 / 3]
    assert table.confidence.tolist() == pytest.approx(expected, nan_ok=True)
    assert float(table.error) == pytest.approx((0.9 + 0.3 + 0.99) / 8)


def test_presences_of_all_classes_are_statements():
    presences = torch.tensor([[0.9, 0.2], [0.9, 0.2]])
    table = reliability(presences, torch.tensor([[1, 0], [1, 1]]))
    assert table.counts.sum() == 4
    assert float(table.error) == pytest.approx((0.2 + 0.6) / 4)


def test_without_statements_or_with_nan_the_error_is_undefined():
    assert reliability(torch.ones(0), torch.ones(0)).error.isnan()
    assert reliability(torch.tensor([0.3, math.nan]), torch.ones(2)).error.isnan()


def test_confidences_must_be_probabilities():
    with pytest.raises(UserError, match="got -2 to 0"):
        reliability(torch.tensor([0.0, -2.0]), torch.ones(2))
    reliability(torch.tensor([1.0000001]), torch.ones(1))  # a length with a rounding error


def test_batches_add_up_and_the_table_is_drawn():
    confidences, correct = top_label(*predictions())
    metric = CalibrationError()
    for part in zip(confidences.split(77), correct.split(77), strict=True):
        metric.update(*part)
    whole = reliability(confidences, correct)
    for one, other in zip(metric.compute(), whole, strict=True):
        torch.testing.assert_close(one, other, equal_nan=True)
    _, axes = metric.plot()
    assert [line.get_label() for line in axes.lines[:2]] == ["accuracy", "confidence"]
    _, axes = metric.plot([whole.error, whole.error])
    assert axes.get_ylabel() == "CalibrationError"
