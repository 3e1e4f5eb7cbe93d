"""Modules in memory: wrappers of torch and Lightning, TorchScript and exported programs."""

import pytest
import torch
from pytorch_lightning import LightningModule
from torch import nn
from torch.export import Dim, export

from capsbench.errors import UserError
from capsbench.models.cnn_small import CNNSmall
from capsbench.profiling.evaluation_mode import evaluation_mode
from capsbench.training.recipe import Recipe
from capsbench.training.task import Task
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


def example(batch: int = 4) -> torch.Tensor:
    return torch.rand(batch, 3, 12, 12, generator=torch.Generator().manual_seed(0))


def exported(batch=Dim.DYNAMIC, module=None):
    shapes = None if batch is None else ({0: batch},)
    return export(module or network(), (example(),), dynamic_shapes=shapes)


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
@pytest.mark.parametrize("script", [True, False])
def test_torchscript_has_logits_and_no_layers(script):
    made = torch.jit.script(network()) if script else torch.jit.trace(network(), example())
    model = as_model(made, image_shape=SHAPE, num_classes=CLASSES)
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
        Task(nn.DataParallel(own), Recipe()),
    ):
        assert as_model(module, image_shape=SHAPE, num_classes=CLASSES) is own
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


def test_an_exported_module_keeps_its_mode():
    fixed = unwrap(exported())
    assert fixed.train() is fixed
    assert fixed.eval() is fixed
