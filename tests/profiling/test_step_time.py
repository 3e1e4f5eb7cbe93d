"""Step times: which forms are timed, and what a step computes."""

from typing import Any

import torch

from capsbench.models.capsnet import CapsNet
from capsbench.models.cnn_small import CNNSmall
from capsbench.profiling.step_time import step_times

DIGITS: dict[str, Any] = {"image_shape": (1, 28, 28), "num_classes": 10}


def test_networks_with_capsules_are_timed_in_both_forms():
    model = CapsNet(channels=2, primary_types=2, **DIGITS)
    seen = []
    model.routed_classes.register_forward_hook(
        lambda layer, *_: seen.append((layer.backend, layer.training, torch.is_grad_enabled()))
    )
    times = step_times(model, batch_size=2)
    assert [each.backend for each in times] == ["textbook", "auto"]
    assert all(each.forward > 0 and each.training > 0 for each in times)
    calls = {(b, mode, mode) for b in ("textbook", "auto") for mode in (False, True)}
    assert set(seen) == calls
    assert model.routed_classes.backend == "auto"
    assert all(parameter.grad is None for parameter in model.parameters())


def test_a_network_without_capsules_has_one_form():
    times = step_times(CNNSmall(width=2, hidden=2, **DIGITS), batch_size=2)
    assert [each.backend for each in times] == ["auto"]
