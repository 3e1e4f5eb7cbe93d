"""Modules in memory: wrappers of torch and Lightning, TorchScript and exported programs."""

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.export import Dim, export

from capsbench.errors import UserError
from capsbench.models.cnn_small import CNNSmall
from capsbench.profiling.evaluation_mode import evaluation_mode
from capsbench.running.weights import in_memory
from capsbench.training.recipe import Recipe
from capsbench.training.task import Task
from capsbench.wrapping import LogitsModel
from capsbench.wrapping.live import as_model, unwrap

SHAPE, CLASSES = (1, 12, 12), 10


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3),
        nn.BatchNorm2d(4),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(16, CLASSES),
    ).eval()


class Lit(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.inner = network()

    def forward(self, images):
        return self.inner(images)


class Inside(nn.Module):
    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.module = module

    def forward(self, images):
        return self.module(images)


def example(batch: int = 4) -> torch.Tensor:
    return torch.rand(batch, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def exported(batch=Dim.DYNAMIC, module=None, channels=3):
    shapes = None if batch is None else ({0: batch},)
    return export(
        module or network(), (example()[:, :channels].contiguous(),), dynamic_shapes=shapes
    )


LIVE = {
    "a module": network,
    "compiled": lambda: torch.compile(network(), backend="eager"),
    "data parallel": lambda: nn.DataParallel(network()),
    "data parallel and compiled": lambda: torch.compile(nn.DataParallel(network())),
    "Lightning": Lit,
    "an exported program": exported,
    "an exported module": lambda: exported(Dim("batch")).module(),
    "a symbolic trace": lambda: torch.fx.symbolic_trace(network()),
}


SCRIPTS = {
    "scripted": lambda: torch.jit.script(network()),
    "traced": lambda: torch.jit.trace(network(), example()),
    "frozen": lambda: torch.jit.freeze(torch.jit.script(network())),
    "optimized": lambda: torch.jit.optimize_for_inference(torch.jit.script(network())),
}


@pytest.mark.parametrize("form", LIVE)
def test_logits_are_those_of_the_module(form):
    model = as_model(LIVE[form](), image_shape=SHAPE, num_classes=CLASSES)
    with evaluation_mode(model), torch.no_grad():
        for batch in (1, 2, 5):
            images = example(batch)[:, :1]
            expected = network()(images.expand(-1, 3, -1, -1))
            torch.testing.assert_close(model(images).scores, expected)
    has_features = form not in ("an exported program", "an exported module")
    assert bool(model.layers_of_interest()) == has_features
    assert bool(model.addressed_modules()) == has_features


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
@pytest.mark.parametrize("form", SCRIPTS)
def test_torchscript_has_logits_and_no_layers(form):
    model = as_model(SCRIPTS[form](), image_shape=SHAPE, num_classes=CLASSES)
    images = example(2)[:, :1]
    with evaluation_mode(model), torch.no_grad():
        expected = network()(images.expand(-1, 3, -1, -1))
        torch.testing.assert_close(model(images).scores, expected)
    assert model.layers_of_interest() == {}
    assert model.addressed_modules() == {}


def test_our_own_model_is_taken_out_of_its_wrappers():
    own = CNNSmall(image_shape=SHAPE, num_classes=CLASSES, width=2, hidden=4)
    for module in (
        own,
        Task(own, Recipe()),
        torch.compile(own),
        nn.DataParallel(own),
        nn.DataParallel(Task(own, Recipe())),
    ):
        assert as_model(module, image_shape=SHAPE, num_classes=CLASSES) is own
    for module in (exported(module=own.eval(), channels=1), Inside(own)):
        model = as_model(module, image_shape=SHAPE, num_classes=CLASSES)
        images = example(2)[:, :1]
        torch.testing.assert_close(model(images).scores, own(images).scores)
    with pytest.raises(UserError, match=r"for images \(1, 12, 12\) of 10 classes"):
        as_model(own, image_shape=SHAPE, num_classes=3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: exported(None), "for batches of 4 images; export it with a dynamic batch"),
        (lambda: exported(module=network().train()), "exported in training mode"),
        (lambda: network().half(), "parameters in float16"),
        (LightningModule, "cannot classify"),
        (lambda: "here", "expected a module"),
    ],
)
def test_what_cannot_be_measured_is_refused(make, message):
    with pytest.raises(UserError, match=message):
        as_model(make(), image_shape=SHAPE, num_classes=CLASSES)


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_wrappers_have_the_name_of_their_network():
    wrapped = LogitsModel(network(), image_shape=SHAPE, num_classes=CLASSES)
    assert in_memory(wrapped).name == "Sequential"
    assert in_memory(SCRIPTS["scripted"]()).name == "Sequential"
    assert in_memory(unwrap(exported())).name == "GraphModule"


def test_an_exported_module_keeps_its_mode():
    fixed = unwrap(exported())
    assert fixed.train() is fixed
    assert fixed.eval() is fixed
