"""Peak memory checked against known allocations."""

import gc

import torch
from torch import nn

from capsbench.profiling.peak_memory import peak_bytes, running_peak

MB = 2**20
SCALARS = 64  # bytes of scalars that torch stores in tensors


def test_the_peak_is_the_memory_in_use_at_one_time():
    def call():
        first = torch.empty(4 * MB, dtype=torch.uint8)
        second = torch.empty(3 * MB, dtype=torch.uint8)
        del first
        third = torch.empty(2 * MB, dtype=torch.uint8)
        return second, third

    assert peak_bytes(call, "cpu") == 7 * MB


def test_earlier_memory_does_not_count():
    before = torch.zeros(8 * MB, dtype=torch.uint8)
    assert peak_bytes(lambda: before.add_(1), "cpu") < SCALARS
    assert peak_bytes(before[: 2 * MB].clone, "cpu") == 2 * MB


def test_each_call_is_counted_separately():
    def call():
        torch.ones(MB).mul_(2)

    first, second = peak_bytes(call, "cpu"), peak_bytes(call, "cpu")
    assert first == second
    assert 4 * MB <= first < 4 * MB + SCALARS


def test_garbage_of_an_earlier_call_lowers_no_peak():
    def leave_a_cycle():
        cycle: list[object] = [torch.empty(8 * MB, dtype=torch.uint8)]
        cycle.append(cycle)

    def call():
        gc.collect()
        return torch.empty(2 * MB, dtype=torch.uint8)

    peak_bytes(leave_a_cycle, "cpu")
    assert peak_bytes(call, "cpu") == 2 * MB


def test_a_backward_pass_counts_activations_and_gradients():
    layer = nn.Linear(256, 512, bias=False)
    inputs = torch.randn(1024, 256)
    activations, weights = 4 * 1024 * 512, 4 * 256 * 512

    def call():
        layer(inputs).exp().sum().backward()
        layer.zero_grad()

    # exp saves its result; its gradient is added, then that of the weights.
    peak = peak_bytes(call, "cpu")
    assert 2 * activations <= peak <= 3 * activations + weights


def test_running_peak():
    assert running_peak([]) == running_peak([-5]) == 0
    assert running_peak([3, 4, -7, 5]) == 7
    assert running_peak([3, -3, 5, 4, -9]) == 9
