"""Forms of a convolution: selection, forcing, equal results."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from capsbench.capsules import convolution
from capsbench.capsules.convolution import FORMS, Conv2d, convolution_form, form_for
from capsbench.names import find


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def value_and_gradients(function, tensors):
    y = function(*tensors)
    error = draw(*y.shape, seed=3).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, tensors, error)]


PADDED: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": (1, 2)}
UNSUPPORTED = [
    {"groups": 2},
    {"dilation": 2},
    {"padding_mode": "reflect", "padding": 1},
    {"padding": "same"},
]


def same_conv(**arguments):
    torch.manual_seed(0)
    ours = Conv2d(70, 4, **arguments)
    torch.manual_seed(0)
    reference = nn.Conv2d(70, 4, **arguments)
    return ours, reference


def test_initial_values_and_state_are_those_of_torch():
    ours, reference = same_conv(**PADDED)
    assert ours.state_dict().keys() == reference.state_dict().keys()
    assert all(map(torch.equal, ours.parameters(), reference.parameters()))
    reference.load_state_dict(ours.state_dict())
    ours.load_state_dict(reference.state_dict())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("arguments", [PADDED, {**PADDED, "bias": False}], ids=str)
def test_every_form_gives_the_results_of_torch(form, arguments):
    ours, reference = (conv.double() for conv in same_conv(**arguments))
    images = draw(2, 70, 8, 9).requires_grad_()
    expected = value_and_gradients(lambda x, *_: reference(x), [images, *reference.parameters()])
    with convolution_form(form):
        assert ours.form(images) == form
        result = value_and_gradients(lambda x, *_: ours(x), [images, *ours.parameters()])
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one, other)
    with convolution_form(form):
        ours(images).sum().backward()
    assert ours.weight.grad is not None and ours.weight.grad.is_contiguous()  # as DDP requires


@pytest.mark.parametrize("arguments", UNSUPPORTED, ids=str)
def test_unsupported_convolutions_are_computed_by_torch(arguments):
    ours, reference = same_conv(kernel_size=3, **arguments)
    images = draw(2, 70, 8, 9, dtype=torch.float32)
    with convolution_form("products"):
        assert torch.equal(ours(images), reference(images))
        assert torch.equal(ours(images[0]), reference(images[0]))  # one image, without a batch


@pytest.mark.parametrize("form", FORMS)
def test_autocast_decides_the_type_of_all_but_doubles(form):
    conv, images = Conv2d(70, 4, **PADDED), draw(2, 70, 8, 9, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        expected = conv(images), conv.double()(images.double())
        with convolution_form(form):
            result = conv.float()(images), conv.double()(images.double())
    assert [y.dtype for y in result] == [torch.bfloat16, torch.float64]
    # Sums of bf16 numbers of size 1 are rounded where each form has its partial sums.
    torch.testing.assert_close(result[0], expected[0], atol=2**-7, rtol=2**-6)
    torch.testing.assert_close(result[1], expected[1])


@pytest.mark.parametrize("form", FORMS)
def test_types_that_differ_are_refused(form):
    with convolution_form(form), pytest.raises(RuntimeError, match="should be the same"):
        Conv2d(70, 4, 3)(draw(2, 70, 8, 9))


def test_forced_forms_end_with_their_with_block():
    conv, images = Conv2d(1, 1, 3), torch.zeros(1, 1, 4, 4)
    with convolution_form("products"):
        with convolution_form("channels-last"):
            assert conv.form(images) == "channels-last"
        with pytest.raises(ZeroDivisionError), convolution_form("plain"):
            raise ZeroDivisionError
        assert conv.form(images) == "products"
    assert conv.form(images) == "plain"


def test_results_can_be_modified_in_place():
    conv, images = Conv2d(70, 4, 3).double(), draw(2, 70, 6, 6)
    expected = torch.autograd.grad(conv(images).relu().sum(), list(conv.parameters()))
    with convolution_form("products"):
        result = torch.autograd.grad(conv(images).relu_().sum(), list(conv.parameters()))
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_torch_compile_captures_one_graph():
    conv = Conv2d(70, 4, 3).double()
    images = draw(2, 70, 8, 9)
    torch.compiler.reset()
    with convolution_form("products"):
        compiled = torch.compile(conv, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(images), conv(images))
    torch.compiler.reset()


# The fixed rule


@pytest.mark.parametrize("instructions", [True, False])
@pytest.mark.parametrize(
    ("device", "dtype", "expected"),
    [
        ("cpu", torch.float32, "plain"),
        ("cpu", torch.float64, "plain"),
        ("cpu", torch.float16, "plain"),
        ("cuda", torch.float32, "plain"),
        ("cuda", torch.float16, "channels-last"),
        ("cuda", torch.bfloat16, "channels-last"),
    ],
    ids=str,
)
def test_the_form_is_a_rule_of_device_and_dtype(device, dtype, expected, instructions, monkeypatch):
    monkeypatch.setattr(convolution, "multiplies_bfloat16", lambda: instructions)
    assert form_for(device, dtype) == expected


@pytest.mark.parametrize(("instructions", "form"), [(True, "plain"), (False, "products")])
def test_bfloat16_on_a_processor_without_instructions_is_multiplied_as_products(
    instructions, form, monkeypatch
):
    monkeypatch.setattr(convolution, "multiplies_bfloat16", lambda: instructions)
    conv, images = Conv2d(2, 30, 3), torch.zeros(4, 2, 7, 7)
    with torch.autocast("cpu", torch.bfloat16):
        assert conv.form(images) == form
    assert conv.form(images) == "plain"
    assert conv.bfloat16().form(images.bfloat16()) == form


def test_operations_that_are_intercepted_are_plain(monkeypatch):
    monkeypatch.setattr(convolution, "form_for", lambda *_: "products")
    conv, images = Conv2d(2, 30, 3), torch.zeros(4, 2, 7, 7)
    forms = []

    def convolve(images):
        forms.append(conv.form(images))
        return conv(images).sum()

    with FlopCounterMode(display=False) as counter:
        convolve(images)
    assert counter.get_total_flops() == 2 * 4 * 25 * 2 * 30 * 9
    torch.func.grad(convolve)(images)
    torch.func.vmap(lambda one: convolve(one[None]))(images)
    assert forms == ["plain"] * 3
    assert conv.form(images) == "products"


MODELS: dict[str, dict[str, Any]] = {
    "capsnet-dr": {"channels": 8, "primary_types": 3, "primary_dim": 4, "class_dim": 6},
    "capsnet-em": {"channels": 8, "primary_types": 3, "types": (4,), "strides": (2,)},
    "cnn-sabour2017-code": {"channels": (6, 4), "hidden": 16},
}


@pytest.mark.parametrize("form", FORMS)
def test_models_compute_the_same_in_every_form(form):
    for name, arguments in MODELS.items():
        torch.manual_seed(0)
        model = find("models", name).load()(image_shape=(1, 28, 28), num_classes=4, **arguments)
        model.double().eval()
        images = draw(2, 1, 28, 28)
        expected = model(images).scores
        gradients = torch.autograd.grad(expected.sum(), list(model.parameters()), allow_unused=True)
        with convolution_form(form):
            result = model(images).scores
        again = torch.autograd.grad(result.sum(), list(model.parameters()), allow_unused=True)
        torch.testing.assert_close(result, expected)
        for one, other in zip(again, gradients, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other)
