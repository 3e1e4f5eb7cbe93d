"""Fused optimizers compared with torch's plain ones."""

import pytest
import torch
from pytorch_lightning import Trainer
from pytorch_lightning.plugins import MixedPrecision
from torch.optim import SGD, Adam, AdamW

from capsbench.names import find
from capsbench.training.recipe import Recipe
from capsbench.training.task import Task

PLAIN = {
    "adam": lambda weights: Adam(weights, lr=0.01, weight_decay=0.1, foreach=False),
    "adamw": lambda weights: AdamW(weights, lr=0.01, weight_decay=0.1, foreach=False),
    "sgd": lambda weights: SGD(weights, lr=0.01, weight_decay=0.1, momentum=0.9, foreach=False),
}


@pytest.fixture
def task(tiny_file):
    tiny = find("models", f"{tiny_file}:Tiny").load()

    def task(device="cpu", **recipe):
        torch.manual_seed(0)
        with torch.device(device):
            return Task(tiny(image_shape=(1, 32, 32), num_classes=10), Recipe(**recipe))

    return task


@pytest.mark.parametrize("name", PLAIN)
def test_fused_optimizers_equal_torchs_plain_ones(task, name):
    recipe = {"optimizer": name, "learning_rate": 0.01, "weight_decay": 0.1}
    ours, others = (task(**recipe).double() for _ in range(2))
    fused, plain = ours.build_optimizer(), PLAIN[name](list(others.parameters()))
    assert fused.defaults["fused"] is True
    generator = torch.Generator().manual_seed(0)
    for _ in range(5):
        for one, other in zip(ours.parameters(), others.parameters(), strict=True):
            one.grad = torch.randn(one.shape, generator=generator, dtype=one.dtype)
            other.grad = one.grad.clone()
        fused.step()
        plain.step()
    for one, other in zip(ours.parameters(), others.parameters(), strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("name", PLAIN)
def test_fused_is_left_to_torch_without_a_fused_kernel(task, name):
    assert task("meta", optimizer=name).build_optimizer().defaults["fused"] is None


def test_a_gradient_scaler_works_with_a_fused_optimizer(task):
    """With 16-mixed, gradients are scaled but the weights change as without scaling."""
    digits = find("datamodules", "digits").load()

    def train(scale):
        trained = task(optimizer="sgd")
        trained.model.body[2].p = 0.0
        scaler = torch.amp.GradScaler("cpu", init_scale=scale)
        trainer = Trainer(
            max_steps=3, limit_val_batches=0, logger=False, enable_checkpointing=False,
            enable_progress_bar=False, enable_model_summary=False, accelerator="cpu",
            plugins=[MixedPrecision("16-mixed", "cpu", scaler=scaler)],
        )  # fmt: skip
        trainer.fit(trained, datamodule=digits(batch_size=50, limit=100))
        assert trainer.optimizers[0].defaults["fused"] is True
        assert trainer.global_step == 3
        return trained.model.state_dict()

    start = task().model.state_dict()
    small, large = train(1.0), train(2.0**10)
    assert not torch.equal(small["body.3.weight"], start["body.3.weight"])
    for name, weight in small.items():
        torch.testing.assert_close(large[name], weight, rtol=1e-3, atol=1e-4)
