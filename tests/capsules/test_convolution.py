"""Forms of a convolution: selection, forcing, equal results."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from capsbench.capsules import convolution, convolution_products
from capsbench.capsules.autotuning import AutotuningCache
from capsbench.capsules.convolution import FORMS, Case, Conv2d, convolution_form
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


# Selection


class Recorder(AutotuningCache):
    """A cache that always selects channels-last, and records the cases."""

    def __init__(self):
        super().__init__("unused", ["plain"], baseline="plain")
        self.cases = []

    def fastest(self, case, candidates):
        self.cases.append((case, candidates))
        return "channels-last"


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(convolution, "FASTEST_FORMS", recorder)
    monkeypatch.setattr(convolution, "MIN_MEASURED_FLOPS", 1e4)
    monkeypatch.setattr(convolution, "MAX_BATCH_FLOPS", 1e5)
    return recorder


def test_small_convolutions_are_plain_and_unmeasured(recorder, monkeypatch):
    conv, images = Conv2d(2, 3, 3), torch.zeros(2, 2, 7, 7)
    flops = 2 * 2 * 25 * 2 * 3 * 9
    monkeypatch.setattr(convolution, "MIN_MEASURED_FLOPS", flops + 1)
    assert conv.form(images) == "plain"
    monkeypatch.setattr(convolution, "MIN_MEASURED_FLOPS", flops)
    assert conv.form(images) == "channels-last"
    assert len(recorder.cases) == 1


def test_nothing_is_measured_while_operations_are_intercepted(recorder):
    conv, images = Conv2d(2, 30, 3), torch.zeros(4, 2, 7, 7)
    forms = []

    def convolve(images):
        forms.append(conv.form(images))
        return conv(images).sum()

    with FlopCounterMode(display=False) as counter:
        convolve(images)
    assert counter.get_total_flops() == Case.of(conv, images).flops
    torch.func.grad(convolve)(images)
    torch.func.vmap(lambda one: convolve(one[None]))(images)
    assert forms == ["plain"] * 3
    assert not recorder.cases


def test_other_types_and_processors_without_bfloat16_are_not_measured(recorder, monkeypatch):
    conv, images = Conv2d(2, 30, 3), torch.zeros(4, 2, 7, 7)
    assert conv.double().form(images.double()) == "plain"
    assert conv.half().form(images.half()) == "plain"
    monkeypatch.setattr(convolution, "multiplies_bfloat16", lambda: False)
    assert conv.bfloat16().form(images.bfloat16()) == "products"
    assert not recorder.cases
    monkeypatch.setattr(convolution, "multiplies_bfloat16", lambda: True)
    assert conv.form(images.bfloat16()) == "channels-last"
    with torch.autocast("cpu", torch.bfloat16):
        assert conv.float().form(images) == "channels-last"
    (one, _), (other, _) = recorder.cases
    assert one == other


def test_a_case_names_all_that_its_time_depends_on(recorder):
    def name(conv, images, threads=1):
        torch.set_num_threads(threads)
        conv.form(images)
        return recorder.cases[-1][0]

    conv, images = Conv2d(2, 30, 3), torch.zeros(9, 2, 8, 7)
    first = name(conv, images)
    assert first.endswith(
        f"1 threads, torch {torch.__version__}, forms {convolution._forms_version()}; "
        "images 2x2x8x7 float32 BCHW; weights 30x2x3x3 and "
        "bias; stride 1x1; padding 0x0; gradients parameters"
    )
    assert name(conv, torch.zeros(5, 2, 8, 7)) == first  # of both, two images would be measured
    others = [
        name(conv, torch.zeros(1, 2, 8, 7)),
        name(conv, images[..., :6]),
        name(conv, images.contiguous(memory_format=torch.channels_last)),
        name(conv, images.clone().requires_grad_()),
        name(conv, images, threads=2),
        name(Conv2d(2, 30, 3, bias=False), images),
        name(Conv2d(2, 30, 3, 2), images),
        name(Conv2d(2, 30, 3, padding=1), images),
        name(Conv2d(2, 31, 3), images),
    ]
    with torch.no_grad():
        others.append(name(conv, images))
    conv.bfloat16()
    if convolution_products.multiplies_bfloat16():
        others.append(name(conv, images.bfloat16()))
    assert len({first, *others}) == 1 + len(others)


@pytest.mark.parametrize("mode", [torch.enable_grad, torch.no_grad, torch.inference_mode])
def test_measuring_computes_every_form_and_draws_no_random_numbers(recorder, mode, monkeypatch):
    computed, gradients = [], []
    for name, function in FORMS.items():

        def recording(*tensors, name=name, function=function):
            y = function(*tensors)
            computed.append((name, tensors[0].stride(), y.requires_grad))
            return y

        monkeypatch.setitem(FORMS, name, recording)
    differentiate = torch.autograd.grad

    def recording_gradient(y, inputs, error):
        gradients.append(len(inputs))
        return differentiate(y, inputs, error)

    monkeypatch.setattr(torch.autograd, "grad", recording_gradient)
    conv, state = Conv2d(2, 30, 3, padding=1), torch.get_rng_state()
    images = torch.zeros(2, 2, 8, 7).contiguous(memory_format=torch.channels_last)
    with mode():
        conv.form(images)
        ((_, candidates),) = recorder.cases
        for compute in candidates().values():
            compute()
    has_grad = mode is torch.enable_grad
    strides = images[:1].stride()[1:]
    assert [(name, y) for name, _, y in computed] == [(name, has_grad) for name in FORMS]
    assert gradients == [2] * 3 * has_grad  # of weights and biases
    assert all(stride[1:] == strides for _, stride, _ in computed)
    assert conv.weight.grad is None
    assert torch.equal(torch.get_rng_state(), state)


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
