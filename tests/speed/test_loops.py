"""Both training loops take the same steps and time them without the first."""

import pytest
import torch

from capsbench.speed import loops
from capsbench.speed.loops import bare_loop, lightning_loop
from capsbench.speed.nets import Net

STEPS = 3


class CountedNet(Net):
    """Network that records its forward passes."""

    def build(self, variant, device):
        model = super().build(variant, device)
        model.register_forward_hook(lambda *_: PASSES.append(model))
        return model


PASSES: list[torch.nn.Module] = []


@pytest.fixture
def net(monkeypatch):
    """Make a network, and a clock that returns the number of steps."""
    PASSES.clear()
    monkeypatch.setattr(loops, "_now", lambda device: float(len(PASSES)))
    return CountedNet("tests.speed.small:SmallCapsNet", (1, 9, 9), num_classes=3, batch_size=2)


@pytest.mark.parametrize("loop", [bare_loop, lightning_loop])
def test_the_first_step_is_not_timed(net, loop):
    work = loop(net, "cpu", STEPS)
    for _ in range(2):
        PASSES.clear()
        assert work() == STEPS
        assert len(PASSES) == 1 + STEPS
        assert all(parameter.grad is None for parameter in PASSES[0].parameters())


def test_both_loops_give_equal_weights(net):
    trained = []
    for loop in (bare_loop, lightning_loop):
        PASSES.clear()
        loop(net, "cpu", STEPS)()
        trained.append([parameter.detach() for parameter in PASSES[0].parameters()])
    for bare, lightning in zip(*trained, strict=True):
        torch.testing.assert_close(bare, lightning)
