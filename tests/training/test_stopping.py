"""Signals of a group: how often its processes exchange what they have received."""

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from capsbench.training.stopping import StopCheck


@pytest.fixture
def exchanges(monkeypatch):
    """Return the steps at which a group exchanges, from a first step on, at a speed."""

    def exchanges(first, seconds_per_step, count=30):
        clock = 0.0
        steps = []
        monkeypatch.setattr("capsbench.training.stopping.time.perf_counter", lambda: clock)

        def reduce(values, reduce_op):
            steps.append(step)
            return values

        strategy = SimpleNamespace(reduce=reduce, root_device=torch.device("cpu"))
        check = StopCheck()
        for step in range(first, first + count):
            clock += seconds_per_step
            trainer: Any = SimpleNamespace(world_size=2, global_step=step, strategy=strategy)
            assert check(trainer) == 0
        return [step - first for step in steps]

    return exchanges


@pytest.mark.parametrize("first", [1, 5001])  # the latter after an interruption
def test_slow_steps_are_each_followed_by_an_exchange(exchanges, first):
    assert exchanges(first, 2.0) == list(range(30))


def test_fast_steps_have_about_one_exchange_per_second(exchanges):
    assert exchanges(1, 0.125) == [0, 2, 6, 14, 22]


def test_a_signal_that_any_process_has_received_is_that_of_all():
    received = torch.tensor([15.0, 0.1])
    strategy = SimpleNamespace(reduce=lambda *_, **__: received, root_device=torch.device("cpu"))
    trainer: Any = SimpleNamespace(world_size=2, global_step=1, strategy=strategy)
    assert StopCheck()(trainer) == 15
    trainer.world_size = 1
    assert StopCheck()(trainer) == 0
