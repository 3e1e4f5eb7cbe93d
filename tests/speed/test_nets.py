"""Training steps and inference of networks: variants and side effects."""

import pytest
import torch

from capsbench.capsules import convolution
from capsbench.capsules.convolution import Conv2d
from capsbench.capsules.layer import RoutingLayer
from capsbench.contracts import Model, Prediction
from capsbench.speed.nets import (
    FAST,
    FAST_BF16,
    TEXTBOOK,
    Net,
    Variant,
    inference,
    make_optimizer,
    training_step,
)

VARIANTS = pytest.mark.parametrize(
    "variant", [TEXTBOOK, FAST, FAST_BF16], ids=lambda variant: variant.name
)


class RecordingNet(Net):
    """Network that records its models and their outputs."""

    def build(self, variant, device):
        model = super().build(variant, device)
        MODELS.append(model)
        model.register_forward_hook(lambda _, __, output: OUTPUTS.append(output))
        return model


MODELS: list[Model] = []
OUTPUTS: list[Prediction] = []


@pytest.fixture
def net():
    MODELS.clear()
    OUTPUTS.clear()
    return RecordingNet("tests.speed.small:SmallCapsNet", (1, 9, 9), num_classes=3, batch_size=2)


@VARIANTS
def test_a_training_step_trains_and_leaves_no_gradients(net, variant):
    work = training_step(net, variant, "cpu")
    (model,) = MODELS
    before = [parameter.detach().clone() for parameter in model.parameters()]
    assert work() is None
    assert all(parameter.grad is None for parameter in model.parameters())
    assert not any(map(torch.equal, before, model.parameters()))


@VARIANTS
def test_inference_neither_trains_nor_keeps_a_graph(net, variant):
    work = inference(net, variant, "cpu")
    (model,) = MODELS
    before = [parameter.detach().clone() for parameter in model.parameters()]
    work()
    assert not model.training
    assert all(map(torch.equal, before, model.parameters()))
    (prediction,) = OUTPUTS
    assert prediction.scores.is_inference()


@pytest.mark.parametrize("backend", ["textbook", "eager", "auto"])
def test_all_routing_layers_use_the_backend_of_the_variant(net, backend):
    model = net.build(Variant(backend), "cpu")
    layers = [layer for layer in model.modules() if isinstance(layer, RoutingLayer)]
    assert [layer.backend for layer in layers] == [backend]


def test_convolutions_of_the_textbook_variant_are_plain(monkeypatch):
    monkeypatch.setattr(convolution, "form_for", lambda *_: "products")
    conv, images = Conv2d(2, 3, 3), torch.zeros(4, 2, 7, 7)
    with FAST.forward("cpu"):
        assert conv.form(images) == "products"
    with TEXTBOOK.forward("cpu"):
        assert conv.form(images) == "plain"


@VARIANTS
def test_precision(variant):
    with variant.forward("cpu"):
        product = torch.ones(2, 2) @ torch.ones(2, 2)
    assert product.dtype == (torch.bfloat16 if variant.precision == "bf16" else torch.float32)


def test_optimizers(net):
    """torch's default for the textbook variant, a task's optimizer for the fast one."""
    model = net.build(FAST, "cpu")
    plain, fast = make_optimizer(model, TEXTBOOK), make_optimizer(model, FAST)
    assert type(plain) is type(fast) is torch.optim.Adam
    assert (plain.defaults["fused"], fast.defaults["fused"]) == (None, True)
    assert plain.defaults["lr"] == fast.defaults["lr"]


def test_all_variants_have_the_same_weights(net):
    first, second = net.build(TEXTBOOK, "cpu"), net.build(FAST, "cpu")
    assert all(map(torch.equal, first.parameters(), second.parameters()))
    assert torch.equal(net.make_batch("cpu").targets, torch.tensor([0, 1]))
