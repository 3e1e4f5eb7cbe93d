"""Routing backend of a training."""

import pytest

from capsbench.datamodules.digits import Digits
from capsbench.models.capsnet_dr import CapsNetDR
from capsbench.training.execution import Execution
from capsbench.training.recipe import ProtocolRecipe
from capsbench.training.train import train


def small():
    return CapsNetDR(
        image_shape=(1, 32, 32),
        num_classes=10,
        channels=4,
        stride=2,
        primary_types=2,
        primary_kernel=5,
        decoder=(),
    )


@pytest.mark.parametrize("backend", ["textbook", "eager"])
def test_routing_is_computed_by_the_backend_of_the_execution(backend, tmp_path):
    recipe = ProtocolRecipe(steps=1, batch_size=8, evaluate_every=1, limit=20)
    result = train(
        small,
        Digits(batch_size=8, limit=20),
        recipe,
        Execution(device="cpu", backend=backend, wandb="off"),
        seed=0,
        state=tmp_path / "state.ckpt",
        loggers=[],
        on_step=lambda step: None,
        on_rows=lambda rows: None,
    )
    assert result.backends_used == (backend,)  # not those of trainings before it
