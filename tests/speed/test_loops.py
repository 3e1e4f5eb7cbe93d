"""Both loops take the same steps, and tell the time of those that count."""

import pytest
import torch

from capsbench.speed import loops
from capsbench.speed.loops import bare_loop, lightning_loop
from capsbench.speed.nets import Net

STEPS = 3


class Watched(Net):
    """A network whose steps are counted."""

    def build(self, way, device):
        model = super().build(way, device)
        model.register_forward_hook(lambda *_: SEEN.append(model))
        return model


SEEN: list[torch.nn.Module] = []


@pytest.fixture
def net(monkeypatch):
    """A network, and a clock that tells how many steps were taken."""
    SEEN.clear()
    monkeypatch.setattr(loops, "_now", lambda device: float(len(SEEN)))
    return Watched("tests.speed.small:SmallCapsNet", (1, 9, 9), num_classes=3, size=2)


@pytest.mark.parametrize("loop", [bare_loop, lightning_loop])
def test_the_first_step_does_not_count(net, loop):
    work = loop(net, "cpu", STEPS)
    for _ in range(2):  # again and again
        SEEN.clear()
        assert work() == STEPS
        assert len(SEEN) == 1 + STEPS
        assert all(parameter.grad is None for parameter in SEEN[0].parameters())


def test_both_train_alike(net):
    trained = []
    for loop in (bare_loop, lightning_loop):
        SEEN.clear()
        loop(net, "cpu", STEPS)()
        trained.append([parameter.detach() for parameter in SEEN[0].parameters()])
    for bare, lightning in zip(*trained, strict=True):
        torch.testing.assert_close(bare, lightning)
