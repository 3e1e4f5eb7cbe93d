"""The form in which a convolution is computed: chosen, forced, without effect on its results."""

from typing import Any

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from capsbench.capsules import convolution, convolution_products
from capsbench.capsules.choices import Choices
from capsbench.capsules.convolution import FORMS, Case, Conv2d, convolution_form
from capsbench.names import find


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def value_and_gradients(function, tensors):
    y = function(*tensors)
    error = draw(*y.shape, seed=3).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, tensors, error)]


PADDED: dict[str, Any] = {"kernel_size": 3, "stride": 2, "padding": (1, 2)}
LEFT_TO_TORCH = [
    {"groups": 2},
    {"dilation": 2},
    {"padding_mode": "reflect", "padding": 1},
    {"padding": "same"},
]


def same_conv(**arguments):
    torch.manual_seed(0)
    ours = Conv2d(70, 4, **arguments)
    torch.manual_seed(0)
    torchs = nn.Conv2d(70, 4, **arguments)
    return ours, torchs


def test_it_starts_and_is_saved_as_torchs():
    ours, torchs = same_conv(**PADDED)
    assert ours.state_dict().keys() == torchs.state_dict().keys()
    assert all(map(torch.equal, ours.parameters(), torchs.parameters()))
    torchs.load_state_dict(ours.state_dict())
    ours.load_state_dict(torchs.state_dict())


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("arguments", [PADDED, {**PADDED, "bias": False}], ids=str)
def test_every_form_gives_torchs_results(form, arguments):
    ours, torchs = (conv.double() for conv in same_conv(**arguments))
    images = draw(2, 70, 8, 9).requires_grad_()
    expected = value_and_gradients(lambda x, *_: torchs(x), [images, *torchs.parameters()])
    with convolution_form(form):
        assert ours.form(images) == form
        found = value_and_gradients(lambda x, *_: ours(x), [images, *ours.parameters()])
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)
    with convolution_form(form):
        ours(images).sum().backward()
    assert ours.weight.grad is not None and ours.weight.grad.is_contiguous()  # as DDP wants it


@pytest.mark.parametrize("arguments", LEFT_TO_TORCH, ids=str)
def test_what_products_cannot_do_is_left_to_torch(arguments):
    ours, torchs = same_conv(kernel_size=3, **arguments)
    images = draw(2, 70, 8, 9, dtype=torch.float32)
    with convolution_form("products"):
        assert torch.equal(ours(images), torchs(images))
        assert torch.equal(ours(images[0]), torchs(images[0]))  # one image, without a batch


@pytest.mark.parametrize("form", FORMS)
def test_autocast_decides_the_type_of_all_but_doubles(form):
    conv, images = Conv2d(70, 4, **PADDED), draw(2, 70, 8, 9, dtype=torch.float32)
    with torch.autocast("cpu", torch.bfloat16):
        expected = conv(images), conv.double()(images.double())
        with convolution_form(form):
            found = conv.float()(images), conv.double()(images.double())
    assert [y.dtype for y in found] == [torch.bfloat16, torch.float64]
    # Sums of bf16 numbers of size 1 are rounded where each form has its partial sums.
    torch.testing.assert_close(found[0], expected[0], atol=2**-7, rtol=2**-6)
    torch.testing.assert_close(found[1], expected[1])


@pytest.mark.parametrize("form", FORMS)
def test_types_that_differ_are_refused(form):
    with convolution_form(form), pytest.raises(RuntimeError, match="should be the same"):
        Conv2d(70, 4, 3)(draw(2, 70, 8, 9))


def test_forced_forms_end_with_their_block():
    conv, images = Conv2d(1, 1, 3), torch.zeros(1, 1, 4, 4)
    with convolution_form("products"):
        with convolution_form("channels-last"):
            assert conv.form(images) == "channels-last"
        with pytest.raises(ZeroDivisionError), convolution_form("plain"):
            raise ZeroDivisionError
        assert conv.form(images) == "products"
    assert conv.form(images) == "plain"


def test_results_may_be_changed_in_place():
    conv, images = Conv2d(70, 4, 3).double(), draw(2, 70, 6, 6)
    expected = torch.autograd.grad(conv(images).relu().sum(), list(conv.parameters()))
    with convolution_form("products"):
        found = torch.autograd.grad(conv(images).relu_().sum(), list(conv.parameters()))
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_torch_compile_captures_it_whole():
    conv = Conv2d(70, 4, 3).double()
    images = draw(2, 70, 8, 9)
    torch.compiler.reset()
    with convolution_form("products"):
        compiled = torch.compile(conv, backend="aot_eager", fullgraph=True)
        torch.testing.assert_close(compiled(images), conv(images))
    torch.compiler.reset()


# The choice


class Recorder(Choices):
    """Chooses channels-last, and notes what it was asked."""

    def __init__(self):
        super().__init__("unused", baseline="plain")
        self.asked = []

    def find(self, case, ways):
        self.asked.append((case, ways))
        return "channels-last"


@pytest.fixture
def recorder(monkeypatch):
    recorder = Recorder()
    monkeypatch.setattr(convolution, "CHOICES", recorder)
    monkeypatch.setattr(convolution, "FEWEST", 1e4)
    monkeypatch.setattr(convolution, "MEASURED", 1e5)
    return recorder


def test_small_convolutions_are_plain_and_unmeasured(recorder, monkeypatch):
    conv, images = Conv2d(2, 3, 3), torch.zeros(2, 2, 7, 7)
    flops = 2 * 2 * 25 * 2 * 3 * 9
    monkeypatch.setattr(convolution, "FEWEST", flops + 1)
    assert conv.form(images) == "plain"
    monkeypatch.setattr(convolution, "FEWEST", flops)
    assert conv.form(images) == "channels-last"
    assert len(recorder.asked) == 1


def test_nothing_is_measured_while_operations_are_watched(recorder):
    conv, images = Conv2d(2, 30, 3), torch.zeros(4, 2, 7, 7)
    seen = []

    def look(images):
        seen.append(conv.form(images))
        return conv(images).sum()

    with FlopCounterMode(display=False) as counter:
        look(images)
    assert counter.get_total_flops() == Case.of(conv, images).flops
    torch.func.grad(look)(images)
    torch.func.vmap(lambda one: look(one[None]))(images)
    assert seen == ["plain"] * 3
    assert not recorder.asked


def test_other_types_and_processors_without_bfloat16_are_not_measured(recorder, monkeypatch):
    conv, images = Conv2d(2, 30, 3), torch.zeros(4, 2, 7, 7)
    assert conv.double().form(images.double()) == "plain"
    assert conv.half().form(images.half()) == "plain"
    monkeypatch.setattr(convolution, "multiplies_bfloat16", lambda: False)
    assert conv.bfloat16().form(images.bfloat16()) == "products"
    assert not recorder.asked
    monkeypatch.setattr(convolution, "multiplies_bfloat16", lambda: True)
    assert conv.form(images.bfloat16()) == "channels-last"
    with torch.autocast("cpu", torch.bfloat16):
        assert conv.float().form(images) == "channels-last"
    (one, _), (other, _) = recorder.asked
    assert one == other


def test_a_case_is_told_by_all_that_its_time_depends_on(recorder):
    def name(conv, images, threads=1):
        torch.set_num_threads(threads)
        conv.form(images)
        return recorder.asked[-1][0]

    conv, images = Conv2d(2, 30, 3), torch.zeros(9, 2, 8, 7)
    first = name(conv, images)
    assert first.endswith(
        f"1 threads, torch {torch.__version__}, forms {convolution._forms()}; "
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
def test_measuring_computes_every_form_and_draws_nothing(recorder, mode, monkeypatch):
    computed, gradients = [], []
    for name, function in FORMS.items():

        def noted(*tensors, name=name, function=function):
            y = function(*tensors)
            computed.append((name, tensors[0].stride(), y.requires_grad))
            return y

        monkeypatch.setitem(FORMS, name, noted)
    differentiate = torch.autograd.grad

    def noted_gradient(y, wanted, error):
        gradients.append(len(wanted))
        return differentiate(y, wanted, error)

    monkeypatch.setattr(torch.autograd, "grad", noted_gradient)
    conv, state = Conv2d(2, 30, 3, padding=1), torch.get_rng_state()
    images = torch.zeros(2, 2, 8, 7).contiguous(memory_format=torch.channels_last)
    with mode():
        conv.form(images)
        ((_, ways),) = recorder.asked
        for way in ways().values():
            way()
    learns = mode is torch.enable_grad
    strides = images[:1].stride()[1:]
    assert [(name, y) for name, _, y in computed] == [(name, learns) for name in FORMS]
    assert gradients == [2] * 3 * learns  # of weights and biases
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
            found = model(images).scores
        again = torch.autograd.grad(found.sum(), list(model.parameters()), allow_unused=True)
        torch.testing.assert_close(found, expected)
        for one, other in zip(again, gradients, strict=True):
            assert (one is None) == (other is None)
            if one is not None:
                torch.testing.assert_close(one, other)
