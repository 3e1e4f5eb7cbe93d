"""Presences without gradient: counted by layer, during the training and in its result."""

import pytest
import torch

from capsbench.contracts import Batch
from capsbench.names import find
from capsbench.training.execution import Execution
from capsbench.training.presence_gradients import IMAGES, zero_gradient_shares
from capsbench.training.recipe import ProtocolRecipe
from capsbench.training.train import train
from capsbench.viewpoint.views import Views

SMALL = {"channels": 4, "primary_types": 2, "types": (2, 2), "iterations": 1}
STEEP = (300.0, 300.0)  # an inverse temperature at which many presences are exactly 0 or 1


def build(name, **arguments):
    torch.manual_seed(0)
    model = find("models", name).load()(image_shape=(1, 28, 28), num_classes=10, **arguments)
    return model.eval()


def draw(count):
    images = torch.rand(count, 1, 28, 28, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.arange(count) % 10, Views.identity(count), torch.arange(count))


def test_shares_are_those_of_a_derivative_of_zero():
    model, batch = build("capsnet-em-paper", inverse_temperature=STEEP, **SMALL), draw(6)
    shares = zero_gradient_shares(model, batch, 0.0)
    logits = model(batch.images).scores.detach().requires_grad_()
    (slope,) = torch.autograd.grad(logits.sigmoid().sum(), logits)
    assert shares["class presences"] == pytest.approx((slope == 0).float().mean().item())
    assert shares["class presences"] > 0.5
    assert shares["primary presences"] == 0
    assert list(shares) == [
        "primary presences",
        "capsules 1 presences",
        "capsules 2 presences",
        "class presences",
    ]
    assert all(parameter.grad is None for parameter in model.parameters())


def test_presences_that_the_loss_does_not_use_are_left_out():
    shares = zero_gradient_shares(
        build("capsnet-em", inverse_temperature=STEEP, **SMALL), draw(4), 0
    )
    assert "class presences" not in shares  # the loss is that of the logits
    assert shares["capsules 2 presences"] > 0
    assert zero_gradient_shares(build("cnn-small", width=2, hidden=4), draw(4), 0) == {}
    assert zero_gradient_shares(build("capsnet-em", **SMALL), draw(0), 0) == {}


def test_a_bounded_number_of_images_is_used():
    model = build("capsnet-em-paper", inverse_temperature=STEEP, **SMALL)
    many = zero_gradient_shares(model, draw(IMAGES + 9), 0)
    assert many == zero_gradient_shares(model, draw(IMAGES + 9)[:IMAGES], 0)


def test_a_training_has_the_shares_of_its_last_validation_and_is_not_changed_by_them(
    tmp_path, monkeypatch
):
    recipe = ProtocolRecipe(steps=3, batch_size=8, learning_rate=0.01, evaluate_every=2, limit=20)

    def run(name):
        data = find("datamodules", "digits").load()(batch_size=8, seed=0, limit=20)
        return train(
            lambda: find("models", "capsnet-em-paper").load()(
                image_shape=(1, 32, 32), num_classes=10, inverse_temperature=STEEP, **SMALL
            ),
            data,
            recipe,
            Execution(device="cpu", wandb="off"),
            seed=0,
            state=tmp_path / name,
            loggers=[],
            on_step=lambda step: None,
            on_rows=lambda rows: None,
        )

    watched = run("watched")
    assert watched.zero_gradient["class presences"] > 0.5
    monkeypatch.setattr("capsbench.training.trajectory.zero_gradient_shares", lambda *_: {})
    plain = run("plain")
    assert plain.zero_gradient == {}
    step, weights = watched.chosen["last"]
    assert step == plain.chosen["last"][0] == 3
    assert all(torch.equal(weights[key], other) for key, other in plain.chosen["last"][1].items())
