"""Published convolutional networks against references written from the papers."""

import math
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from capsbench.arguments import resolve
from capsbench.contracts import Batch, one_hot
from capsbench.errors import UserError
from capsbench.models._cnn import POOL
from capsbench.models._geometry import LayerWindow, output_size
from capsbench.models._pooling import MaxPooling
from capsbench.models.cnn_hinton2018 import CNNHinton2018
from capsbench.models.cnn_multimnist import CNNMultiMNIST
from capsbench.models.cnn_sabour2017 import CNNSabour2017
from capsbench.models.cnn_sabour2017_code import CNNSabour2017Code
from capsbench.models.cnn_small import CNNSmall
from capsbench.models.lenet5 import TABLE, LeNet5, ScaledTanh, Subsampling, TableConvolution
from capsbench.models.resnet20 import ResidualBlock, ResNet20
from capsbench.viewpoint.views import Views

SABOUR: dict[str, Any] = {"channels": (4, 4, 3), "hidden": (7, 6)}
SMALL: dict[str, Any] = {"channels": (4, 3), "hidden": 7}
SIZES: dict[type, dict[str, Any]] = {
    CNNSabour2017: SABOUR,
    CNNSabour2017Code: SMALL,
    CNNMultiMNIST: SMALL,
    CNNHinton2018: SMALL,
}
PADDED = [(cls, padding) for cls in SIZES for padding in ("same", "valid")]
every_cnn = pytest.mark.parametrize(("cls", "padding"), PADDED)


def build(cls, *, image_shape=(1, 23, 26), num_classes=4, **arguments):
    torch.manual_seed(0)
    return cls(image_shape=image_shape, num_classes=num_classes, **arguments)


def draw(image_shape=(1, 23, 26), count=3):
    return torch.rand(count, *image_shape, generator=torch.Generator().manual_seed(1))


def batch_of(images, targets):
    return Batch(images, targets, Views.identity(len(images)), torch.arange(len(images)))


# Blocks of convolution and max-pooling


def tensorflow_pool(x):
    """Apply 2 x 2 'SAME' max-pooling: odd sizes are padded at the bottom or on the right."""
    height, width = x.shape[-2:]
    return F.max_pool2d(F.pad(x, (0, width % 2, 0, height % 2), value=-math.inf), 2)


@every_cnn
def test_scores_match_the_papers_layers(cls, padding):
    model = build(cls, padding=padding, **SIZES[cls]).double().eval()
    images = draw().double()
    parameters = list(model.parameters())
    weights = list(zip(parameters[::2], parameters[1::2], strict=True))
    x = images
    if cls is CNNHinton2018:
        flat = images.flatten(1)
        mean, std = flat.mean(1, keepdim=True), flat.std(1, correction=0, keepdim=True)
        x = ((flat - mean) / std).view_as(images)
    for weight, bias in (pair for pair in weights if pair[0].dim() == 4):
        border = weight.shape[-1] // 2 if padding == "same" else 0
        x = F.conv2d(F.pad(x, 4 * [border]), weight, bias).relu()
        if cls is not CNNSabour2017:
            x = tensorflow_pool(x)
    x = x.flatten(1)
    *hidden, last = (pair for pair in weights if pair[0].dim() == 2)
    for weight, bias in hidden:
        x = (x @ weight.T + bias).relu()
    torch.testing.assert_close(model(images).scores, x @ last[0].T + last[1])


@pytest.mark.parametrize(
    ("cls", "kernels"),
    [
        (CNNSabour2017, [5, 5, 5]),
        (CNNSabour2017Code, [5, 5]),
        (CNNMultiMNIST, [9, 5]),
        (CNNHinton2018, [5, 5]),
    ],
)
def test_convolutions_have_the_papers_windows(cls, kernels):
    convolutions = [m for m in build(cls, **SIZES[cls]).modules() if isinstance(m, nn.Conv2d)]
    assert [conv.kernel_size for conv in convolutions] == [(kernel, kernel) for kernel in kernels]


@pytest.mark.parametrize(
    ("cls", "padding", "expected"),
    [
        (CNNSabour2017, "same", [(1, 0), (1, 0), (1, 0)]),
        (CNNSabour2017, "valid", [(1, 2), (1, 4), (1, 6)]),
        (CNNSabour2017Code, "same", [(2, 0.5), (4, 1.5)]),
        (CNNSabour2017Code, "valid", [(2, 2.5), (4, 7.5)]),
        (CNNMultiMNIST, "same", [(2, 0.5), (4, 1.5)]),
        (CNNMultiMNIST, "valid", [(2, 4.5), (4, 9.5)]),
        (CNNHinton2018, "same", [(2, 0.5), (4, 1.5)]),
        (CNNHinton2018, "valid", [(2, 2.5), (4, 7.5)]),
    ],
)
def test_map_offsets_follow_from_the_padding(cls, padding, expected):
    layers = build(cls, padding=padding, **SIZES[cls]).layers_of_interest()
    assert list(layers) == [f"block {n + 1}" for n in range(len(expected))] + ["hidden"]
    assert [(layer.stride, layer.offset) for layer in layers.values()][:-1] == expected


@pytest.mark.parametrize(
    ("cls", "padding", "smallest"),
    [
        (CNNSabour2017, "same", 3),
        (CNNSabour2017, "valid", 13),
        (CNNSabour2017Code, "same", 5),
        (CNNSabour2017Code, "valid", 13),
        (CNNMultiMNIST, "same", 5),
        (CNNMultiMNIST, "valid", 17),
        (CNNHinton2018, "same", 5),
        (CNNHinton2018, "valid", 13),
    ],
)
def test_at_the_smallest_size_every_weight_of_a_window_is_used(cls, padding, smallest):
    arguments = {"padding": padding, **SIZES[cls]}
    with pytest.raises(UserError, match=f"{smallest} x {smallest}"):
        build(cls, image_shape=(1, 40, smallest - 1), **arguments)
    model = build(cls, image_shape=(1, smallest, smallest), **arguments).eval()
    model(draw((1, smallest, smallest), count=64)).scores.square().sum().backward()
    for convolution in (m for m in model.modules() if isinstance(m, nn.Conv2d)):
        assert convolution.weight.grad is not None
        assert (convolution.weight.grad.abs().sum(dim=(0, 1)) > 0).all()


@pytest.mark.parametrize("size", range(1, 8))
def test_pooling_includes_every_row(size):
    assert output_size(size, [POOL]) == tensorflow_pool(torch.zeros(1, 1, size, 1)).shape[2]


@pytest.mark.parametrize("cls", [CNNSabour2017Code, CNNMultiMNIST, CNNHinton2018])
def test_pooling_is_invariant_to_local_shifts(cls):
    model, inputs_of = build(cls, **SIZES[cls]).eval(), {}
    for module in model.modules():
        if isinstance(module, MaxPooling):
            module.register_forward_pre_hook(
                lambda pool, inputs: inputs_of.update({pool: inputs[0]})
            )
    model(draw())
    assert [pool.check_local_shift(features, (1, 0)) for pool, features in inputs_of.items()] == [
        0,
        0,
    ]


@pytest.mark.parametrize("cls", [CNNSabour2017, CNNHinton2018])
def test_dropout_applies_to_the_last_hidden_layer_in_training_only(cls):
    wide: dict[str, Any] = {"hidden": (9, 400)} if cls is CNNSabour2017 else {"hidden": 400}
    model = build(cls, dropout=0.25, **SIZES[cls] | wide)
    outputs = []
    model.hidden.register_forward_hook(lambda module, inputs, output: outputs.append(output))
    images = draw(count=8)
    model(images), model.eval()(images), model(images)
    trained, evaluated, again = outputs
    assert torch.equal(evaluated, again)
    alive = evaluated > 0
    torch.testing.assert_close(trained[trained > 0], evaluated[alive & (trained > 0)] / 0.75)
    assert 0.2 < (trained[alive] == 0).float().mean() < 0.3
    without = build(cls, dropout=0.0, **SIZES[cls])
    assert torch.equal(without(images).scores, without.eval()(images).scores)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [({"padding": "full"}, "padding"), ({"dropout": 1.0}, "dropout"), ({"hidden": [3]}, "hidden")],
)
def test_bad_arguments_are_refused(arguments, name):
    supplied = ("image_shape", "num_classes")
    with pytest.raises(UserError, match=name):
        resolve(CNNSabour2017, arguments, what="model", supplied=supplied)


def test_small_cnn_has_a_stable_state_dict():
    state = build(CNNSmall, width=2, hidden=5).state_dict()
    assert {name: tuple(values.shape) for name, values in state.items()} == {
        "probability_exponent": (),
        "block1.0.weight": (2, 1, 3, 3),
        "block1.0.bias": (2,),
        "block2.0.weight": (4, 2, 3, 3),
        "block2.0.bias": (4,),
        "block3.0.weight": (8, 4, 3, 3),
        "block3.0.bias": (8,),
        "hidden.1.weight": (5, 8 * 2 * 3),
        "hidden.1.bias": (5,),
        "classes.weight": (4, 5),
        "classes.bias": (4,),
    }


# Two objects in one image


def test_multimnist_loss_is_binary_cross_entropy_per_class():
    model, images = build(CNNMultiMNIST, **SMALL), draw(count=2)
    prediction = model(images)
    targets = torch.tensor([[1.0, 0, 1, 0], [0, 1, 0, 0]])
    probabilities = prediction.scores.double().sigmoid()
    expected = sum(
        -math.log(p if present else 1 - p)
        for row, marks in zip(probabilities.tolist(), targets.tolist(), strict=True)
        for p, present in zip(row, marks, strict=True)
    )
    loss = model.loss(prediction, batch_of(images, targets), 0.5)
    assert loss.item() == pytest.approx(expected / 2, rel=1e-5)
    double = prediction._replace(scores=prediction.scores.double())
    result = model.loss(double, batch_of(images, targets), 0.5).item()
    assert result == pytest.approx(expected / 2, rel=1e-12)


def test_multimnist_probabilities_are_sigmoids_normalised_over_classes():
    model = build(CNNMultiMNIST, **SMALL)
    scores = torch.tensor([[3.0, -2.0, 0.0, 8.0], [-200.0, -100.0, -150.0, -300.0]])
    prediction = model(draw(count=2))._replace(scores=scores)
    sigmoids = scores[0].double().sigmoid()
    result = model.log_probabilities(prediction)
    torch.testing.assert_close(result[0].exp().double(), sigmoids / sigmoids.sum())
    torch.testing.assert_close(result[1], scores[1] + 100)  # far below zero, log sigmoid(s) = s


# ResNet-20


def test_resnet_has_20_layers_and_he_initialisation():
    model = build(ResNet20, image_shape=(3, 32, 32), num_classes=10)
    convolutions = [m for m in model.modules() if isinstance(m, nn.Conv2d)]
    assert len(convolutions) + 1 == 20  # and the last layer
    for conv in convolutions[1:]:
        expected = math.sqrt(2 / (9 * conv.in_channels))
        assert conv.weight.std().item() == pytest.approx(expected, rel=0.1)


def test_resnet_halves_the_map_twice():
    model = build(ResNet20, image_shape=(3, 33, 30), width=4, blocks=2)
    sizes: dict[str, tuple[int, ...]] = {}
    for name in ("conv", "stage1", "stage2", "stage3", "average"):
        model.get_submodule(name).register_forward_hook(
            lambda module, inputs, output, name=name: sizes.update({name: tuple(output.shape[1:])})
        )
    model(draw((3, 33, 30)))
    assert sizes["conv"] == sizes["stage1"] == (4, 33, 30)
    assert (sizes["stage2"], sizes["stage3"]) == ((8, 17, 15), (16, 9, 8))
    assert sizes["average"] == (16,)
    layers = model.layers_of_interest().values()
    assert [(layer.stride, layer.offset) for layer in layers] == [
        *[(1, 0), (1, 0), (2, 0), (4, 0)],
        (1, 0),
    ]


@pytest.mark.parametrize(("stride", "channels"), [(1, 3), (2, 6)])
def test_residual_block_matches_the_paper(stride, channels):
    window = LayerWindow(3, stride, padding=1)
    block = ResidualBlock(3, channels, first=window).double().eval()
    residual: Any = block.residual
    first, norm1, _, second, norm2 = residual
    with torch.no_grad():
        for norm in (norm1, norm2):
            for values in (norm.weight, norm.bias, norm.running_mean):
                values.uniform_(-1, 1)
            norm.running_var.uniform_(0.5, 2)
    x = draw((3, 7, 8)).double()

    def normalised(x, norm):
        mean, variance, scale, shift = (
            values[:, None, None]
            for values in (norm.running_mean, norm.running_var, norm.weight, norm.bias)
        )
        return (x - mean) / (variance + 1e-5).sqrt() * scale + shift

    y = normalised(F.conv2d(x, first.weight, stride=stride, padding=1), norm1).relu()
    y = normalised(F.conv2d(y, second.weight, padding=1), norm2)
    for row in range(y.shape[2]):
        for column in range(y.shape[3]):
            y[:, :3, row, column] += x[:, :, stride * row, stride * column]
    assert y.shape[1] == channels
    torch.testing.assert_close(block(x), y.relu())


def test_resnet_accepts_a_batch_of_one_image_of_the_smallest_size():
    model = build(ResNet20, image_shape=(1, 5, 5), width=2)
    images = draw((1, 5, 5), count=1)  # batch norm needs two values of a channel
    loss = model.loss(model(images), batch_of(images, torch.tensor([1])), 0.0)
    loss.backward()
    assert loss.isfinite()


# LeNet-5

# Table I: an X if a map of C3 (column) is connected to a map of S2 (row).
PAPER = (
    "X...XXX..XXXX.XX",
    "XX...XXX..XXXX.X",
    "XXX...XXX..X.XXX",
    ".XXX..XXXX..X.XX",
    "..XXX..XXXX.XX.X",
    "...XXX..XXXX.XXX",
)


def test_lenet5_connects_c3_as_in_the_papers_table():
    assert [[source in sources for sources in TABLE] for source in range(6)] == [
        [mark == "X" for mark in row] for row in PAPER
    ]


def test_lenet5_has_the_papers_parameters_layer_by_layer():
    model = build(LeNet5, image_shape=(1, 28, 28), num_classes=10)
    counts = {
        name: sum(parameter.numel() for parameter in layer.parameters())
        for name, layer in model.named_children()
    }
    paper = {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert counts == {**paper, "classes": 850}
    assert sum(paper.values()) == 60_000


def test_table_convolution_uses_only_the_maps_of_its_table():
    table = ((0, 2), (1,), (0, 1, 2))
    layer = TableConvolution(table, kernel=2).double()
    x = draw((3, 4, 5), count=2).double()
    expected = torch.zeros(2, 3, 3, 4, dtype=torch.double)
    windows = iter(layer.weight)
    for output, inputs in enumerate(table):
        expected[:, output] = layer.bias[output]
        for source in inputs:
            window = next(windows)
            for row in range(3):
                for column in range(4):
                    part = x[:, source, row : row + 2, column : column + 2]
                    expected[:, output, row, column] += (part * window).sum(dim=(1, 2))
    torch.testing.assert_close(layer(x), expected)


def test_subsampling_scales_the_sum_of_four_neighbours():
    layer = Subsampling(2).double()
    with torch.no_grad():
        layer.bias.copy_(torch.tensor([0.5, -2.0])[:, None, None])
    x = draw((2, 5, 4), count=2).double()  # the fifth row has no neighbour
    sums = x[:, :, 0:4:2] + x[:, :, 1:4:2]
    sums = sums[..., 0::2] + sums[..., 1::2]
    torch.testing.assert_close(layer(x), layer.coefficient * sums + layer.bias)


def test_lenet5_initial_values_are_uniform_up_to_the_root_of_the_inputs():
    model = build(LeNet5, image_shape=(1, 28, 28))
    initial = {name: values.detach().abs() for name, values in model.named_parameters()}
    of_c3 = torch.tensor([25 * len(inputs) for inputs in TABLE for _ in inputs])[:, None, None]
    inputs = {"c1.0": 25, "s2.0": 4, "c3.0": of_c3, "s4.0": 4, "c5.1": 400, "f6.0": 120}
    for name, number in {**inputs, "classes": 84}.items():
        weight = "coefficient" if name.startswith("s") else "weight"
        shares = initial[f"{name}.{weight}"] * torch.as_tensor(number).sqrt()
        assert 0.5 < shares.max() <= 1 + 1e-6, name
    zero = {name for name, values in initial.items() if not values.any()}
    assert zero == {"s2.0.bias", "c3.0.bias", "s4.0.bias"}


def test_squashing_function_is_one_at_one():
    squashed = ScaledTanh()(torch.tensor([-1.0, 0.0, 1.0, 1e4]))
    torch.testing.assert_close(squashed, torch.tensor([-1.0, 0.0, 1.0, 1.7159]), rtol=1e-4, atol=0)


def test_cross_entropy_is_divided_among_the_objects_of_an_image():
    model, images = build(LeNet5, image_shape=(1, 12, 12)), draw((1, 12, 12), count=2)
    prediction = model(images)
    targets = one_hot(torch.tensor([0, 3]), 4)
    targets[0, 2] = 1
    logs = prediction.scores.log_softmax(dim=1)
    expected = -((logs[0, 0] + logs[0, 2]) / 2 + logs[1, 3]) / 2
    torch.testing.assert_close(model.loss(prediction, batch_of(images, targets), 0.5), expected)
