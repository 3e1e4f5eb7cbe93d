"""Steps and passes of networks: in which form they compute, and what they leave behind."""

import pytest
import torch

from capsbench.capsules.convolution import FASTEST_FORMS, Conv2d
from capsbench.capsules.layer import RoutingLayer
from capsbench.contracts import Model, Prediction
from capsbench.speed.nets import (
    FAST,
    FAST_BF16,
    TEXTBOOK,
    Net,
    Way,
    inference,
    optimizer_of,
    training_step,
)

WAYS = pytest.mark.parametrize("way", [TEXTBOOK, FAST, FAST_BF16], ids=lambda way: way.name)


class Watched(Net):
    """Keeps the models that it builds, and what they return."""

    def build(self, way, device):
        model = super().build(way, device)
        MODELS.append(model)
        model.register_forward_hook(lambda _, __, output: OUTPUTS.append(output))
        return model


MODELS: list[Model] = []
OUTPUTS: list[Prediction] = []


@pytest.fixture
def net():
    MODELS.clear()
    OUTPUTS.clear()
    return Watched("tests.speed.small:SmallCapsNet", (1, 9, 9), num_classes=3, size=2)


@WAYS
def test_a_training_step_trains_and_leaves_no_gradients(net, way):
    work = training_step(net, way, "cpu")
    (model,) = MODELS
    before = [parameter.detach().clone() for parameter in model.parameters()]
    assert work() is None
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(map(torch.equal, before, model.parameters()))


@WAYS
def test_inference_neither_trains_nor_keeps_a_graph(net, way):
    work = inference(net, way, "cpu")
    (model,) = MODELS
    before = [parameter.detach().clone() for parameter in model.parameters()]
    work()
    assert not model.training
    assert all(map(torch.equal, before, model.parameters()))
    (prediction,) = OUTPUTS
    assert prediction.scores.is_inference()


@pytest.mark.parametrize("backend", ["textbook", "eager", "auto"])
def test_all_routing_is_done_by_the_backend_of_the_way(net, backend):
    model = net.build(Way(backend), "cpu")
    layers = [layer for layer in model.modules() if isinstance(layer, RoutingLayer)]
    assert [layer.backend for layer in layers] == [backend]


def test_the_textbooks_convolutions_are_plain(monkeypatch):
    monkeypatch.setattr(FASTEST_FORMS, "fastest", lambda *_: "products")
    large, images = Conv2d(64, 64, 9), torch.zeros(()).expand(512, 64, 20, 20)
    with FAST.forward("cpu"):
        assert large.form(images) == "products"
    with TEXTBOOK.forward("cpu"):
        assert large.form(images) == "plain"


@WAYS
def test_precision(way):
    with way.forward("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if way.precision == "bf16" else torch.float32)


def test_optimizers(net):
    """The textbook's as torch has it, the fast one as a task has it."""
    model = net.build(FAST, "cpu")
    plain, fast = optimizer_of(model, TEXTBOOK), optimizer_of(model, FAST)
    assert type(plain) is type(fast) is torch.optim.Adam
    assert (plain.defaults["fused"], fast.defaults["fused"]) == (None, True)
    assert plain.defaults["lr"] == fast.defaults["lr"]


def test_the_same_weights_in_every_row(net):
    first, second = net.build(TEXTBOOK, "cpu"), net.build(FAST, "cpu")
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert torch.equal(net.batch("cpu").targets, torch.tensor([0, 1]))
