"""Wrapped modules against the bare module: logits, loss, channels, outputs and layers."""

import copy
from collections import OrderedDict
from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from capsbench.contracts import EXPONENT, Batch
from capsbench.errors import UserError
from capsbench.measures._activations import capture_activations, choose_layers
from capsbench.viewpoint.views import Views
from capsbench.wrapping import LogitsModel
from capsbench.wrapping.channels import repeat_channels
from capsbench.wrapping.description import describe_wrapper


def network(channels: int = 3, classes: int = 10) -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(channels, 4, 3),
        nn.BatchNorm2d(4),
        nn.ReLU(),
        nn.AdaptiveAvgPool2d(2),
        nn.Flatten(),
        nn.Dropout(),
        nn.Linear(16, 8),
        nn.ReLU(),
        nn.Linear(8, classes),
    )


def wrapped(module: nn.Module, channels: int = 1, **arguments) -> LogitsModel:
    return LogitsModel(module, image_shape=(channels, 12, 10), num_classes=10, **arguments).eval()


def images(channels: int = 1, count: int = 5) -> Tensor:
    return torch.rand(count, channels, 12, 10, generator=torch.Generator().manual_seed(1))


def batch_of(inputs: Tensor, targets: Tensor) -> Batch:
    return Batch(inputs, targets, Views.identity(len(inputs)), torch.arange(len(inputs)))


def test_logits_and_loss_are_those_of_the_bare_module():
    bare, inputs = network().eval(), images(3)
    model = wrapped(bare, 3)
    prediction = model(inputs)
    assert torch.equal(prediction.scores, bare(inputs))
    targets = torch.arange(5)
    loss = model.loss(prediction, batch_of(inputs, targets), 0.0)
    torch.testing.assert_close(loss, nn.functional.cross_entropy(bare(inputs), targets))
    two = nn.functional.one_hot(torch.tensor([[0, 1]] * 5), 10).sum(dim=1)
    shared = model.loss(prediction, batch_of(inputs, two), 0.0)
    logs = bare(inputs).log_softmax(dim=1)
    torch.testing.assert_close(shared, -(logs[:, 0] + logs[:, 1]).mean() / 2)
    assert torch.equal(model.log_probabilities(prediction), logs)


@pytest.mark.parametrize(("own", "order"), [(1, [0, 0, 0]), (2, [0, 1, 0])])
def test_channels_are_repeated_in_turn(own, order):
    bare, inputs = network().eval(), images(own)
    model = wrapped(bare, own)
    assert model.channels == 3
    assert torch.equal(model(inputs).scores, bare(inputs[:, order]))


@given(own=st.integers(1, 4), extra=st.integers(0, 5))
def test_every_repeated_channel_is_the_next_one_of_the_image(own, extra):
    inputs = images(own, count=2)
    repeated = repeat_channels(inputs, own + extra)
    assert torch.equal(repeated, inputs[:, [i % own for i in range(own + extra)]])


def test_more_channels_than_the_network_takes_are_refused():
    with pytest.raises(UserError, match="takes 1 of the images' 3 channels"):
        wrapped(network(1), 3)
    with pytest.raises(UserError, match="mean is given for 2"):
        wrapped(network(), 3, mean=(0.5, 0.5))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"mean": (0.5, 0.5)}, "mean has 2 values; expected 1, or one for each of the 3"),
        ({"mean": (0.5,) * 3, "std": (0.5,) * 2}, "std has 2 values"),
        ({"std": (0.5, 0.0, 0.5)}, "std must be positive"),
        ({"mean": (float("nan"),)}, "mean must be numbers"),
        ({"mean": ()}, "mean must be numbers"),
    ],
)
def test_means_and_deviations_fit_the_channels(arguments, message):
    with pytest.raises(UserError, match=message):
        wrapped(network(), **arguments)


def test_means_are_on_the_device_of_the_network():
    mean = wrapped(network().to("meta"), mean=(0.5,)).mean
    assert mean is not None
    assert mean.device.type == "meta"


def test_images_are_standardized_after_their_channels_are_repeated():
    bare, inputs = network().eval(), images()
    mean, std = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([0.5, 1.0, 2.0])
    model = wrapped(bare, mean=mean.tolist(), std=std.tolist())
    expected = (inputs.repeat(1, 3, 1, 1) - mean[:, None, None]) / std[:, None, None]
    assert torch.equal(model(inputs).scores, bare(expected))
    names = {f"module.{name}" for name in bare.state_dict()}
    assert model.state_dict().keys() == {EXPONENT, *names}


@dataclass
class Output:
    logits: Tensor
    hidden: Tensor


class Several(nn.Module):
    def __init__(self, form) -> None:
        super().__init__()
        self.network, self.form = network(), form

    def forward(self, inputs: Tensor):
        logits = self.network(inputs)
        return self.form(logits, logits.square())


FORMS = {
    0: lambda logits, other: (logits, other),
    1: lambda logits, other: [other, logits],
    "logits": lambda logits, other: OrderedDict(logits=logits, hidden=other),
    "main": lambda logits, other: {"aux": other, "main": logits},
}


@pytest.mark.parametrize("key", FORMS)
def test_logits_among_several_outputs(key):
    module = Several(FORMS[key]).eval()
    model = wrapped(module, output_key=key)
    assert torch.equal(model(images()).scores, module.network(images().repeat(1, 3, 1, 1)))


def test_logits_of_a_dataclass_by_name():
    module = Several(Output).eval()
    model = wrapped(module, output_key="logits")
    assert torch.equal(model(images()).scores, module.network(images().repeat(1, 3, 1, 1)))


def test_an_output_of_several_items_needs_a_known_key():
    module = Several(FORMS["main"])
    with pytest.raises(UserError, match=r"'aux': tensor \(1, 10\), 'main'.*output_key"):
        wrapped(module)
    with pytest.raises(UserError, match="did you mean 'main'"):
        wrapped(module, output_key="mein")
    with pytest.raises(UserError, match="under output_key 0"):
        wrapped(Several(lambda logits, other: ([logits], other)), output_key=0)
    with pytest.raises(UserError, match="expected logits"):
        wrapped(Several(lambda logits, other: object()))


def test_wrong_logits_and_images_are_refused_when_wrapped():
    with pytest.raises(UserError, match=r"logits of shape \(1, 10\).*got \(1, 7\)"):
        wrapped(network(classes=7))
    with pytest.raises(UserError, match="cannot classify images of 1x12x10"):
        wrapped(nn.Sequential(nn.Conv2d(3, 4, 16), network(4)))


def test_a_black_image_changes_no_state():
    module = network().train()
    before = copy.deepcopy(module.state_dict())
    torch.manual_seed(3)
    LogitsModel(module, image_shape=(1, 12, 10), num_classes=10)
    drawn = torch.rand(1)
    torch.manual_seed(3)
    assert torch.equal(torch.rand(1), drawn)
    assert all(each.training for each in module.modules())
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    assert not any(each._forward_pre_hooks for each in module.modules())


def test_features_are_the_input_of_the_linear_layer_that_is_called_last():
    bare = network()
    model, inputs = wrapped(bare), images()
    layers = choose_layers(model, ["features", "6"])
    with capture_activations(model, layers) as captured:
        model(inputs)
    expected = bare[:8](inputs.repeat(1, 3, 1, 1))
    assert torch.equal(captured["features"], expected)
    assert captured["6"].shape == (5, 8)


def test_a_network_without_linear_layer_has_no_features():
    module = nn.Sequential(nn.Conv2d(3, 10, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    assert wrapped(module).layers_of_interest() == {}
    gated = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 4))
    branches = nn.Sequential(nn.Conv2d(3, 3, 3), gated, nn.Unflatten(1, (4, 1, 1)))
    classifier = nn.Sequential(nn.Conv2d(4, 10, 1), nn.Flatten())
    assert wrapped(nn.Sequential(branches, classifier)).layers_of_interest() == {}


class Bare(nn.Module):
    """A network without modules inside."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(120, 10))

    def forward(self, inputs: Tensor) -> Tensor:
        return inputs.flatten(1) @ self.weight


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:.*torch.jit:FutureWarning")
def test_a_module_without_modules_is_no_compiled_graph():
    assert "no modules inside" in describe_wrapper(wrapped(Bare()))["measured_layers"]
    script = wrapped(torch.jit.trace(Bare(), images()))
    assert "compiled graph" in describe_wrapper(script)["measured_layers"]


def test_a_lazy_module_is_complete_once_it_is_wrapped():
    module = nn.Sequential(nn.LazyConv2d(4, 3), nn.Flatten(), nn.LazyLinear(10))
    assert sum(weight.numel() for weight in wrapped(module).parameters()) == 40 + 3210
