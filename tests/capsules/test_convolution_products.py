"""Convolution by matrix products against torch, in value and gradient."""

import pytest
import torch
from torch.nn import functional as F

from capsbench.capsules import convolution_products
from capsbench.capsules.convolution_products import products

# Images, weights, stride. 70 channels use the rows of the kernel separately, 2 the whole kernel.
SHAPES = [
    ((3, 70, 9, 12), (5, 70, 3, 3), (1, 1)),
    ((3, 70, 10, 13), (5, 70, 3, 2), (2, 3)),  # no window covers the last row and columns
    ((1, 70, 12, 9), (4, 70, 9, 9), (2, 2)),
    ((2, 70, 11, 11), (1, 70, 1, 1), (3, 3)),  # no window covers most pixels
    ((2, 130, 7, 8), (3, 130, 2, 3), (3, 1)),
    ((2, 2, 12, 14), (6, 2, 9, 9), (1, 1)),
    ((1, 1, 10, 9), (3, 1, 3, 3), (2, 2)),
]
every_shape = pytest.mark.parametrize(("images", "weights", "stride"), SHAPES)


def draw(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed)).to(dtype)


def operands(images, weights, dtype=torch.float64):
    return [
        draw(*shape, dtype=dtype, seed=seed).requires_grad_()
        for seed, shape in enumerate([images, weights, weights[:1]])
    ]


def value_and_gradients(function, tensors, *more):
    y = function(*tensors, *more)
    error = draw(*y.shape, seed=3).to(y.dtype)
    return [y.detach(), *torch.autograd.grad(y, tensors, error)]


def relative(result, expected):
    return ((result.double() - expected).norm() / expected.norm()).item()


@every_shape
def test_products_equal_the_convolution(images, weights, stride):
    tensors = operands(images, weights)
    expected = value_and_gradients(F.conv2d, tensors, stride)
    for result, exact_value in zip(
        value_and_gradients(products, tensors, stride), expected, strict=True
    ):
        torch.testing.assert_close(result, exact_value)
    single = [tensor.detach().float().requires_grad_() for tensor in tensors]
    for result, exact_value in zip(
        value_and_gradients(products, single, stride), expected, strict=True
    ):
        assert relative(result, exact_value) < 1e-6
    x, weight, _ = tensors
    torch.testing.assert_close(products(x, weight, None, stride), F.conv2d(x, weight, None, stride))


LAYOUTS = {
    "channels last": lambda x: x.contiguous(memory_format=torch.channels_last),
    "rows first": lambda x: x.permute(2, 0, 3, 1).contiguous().permute(1, 3, 0, 2),
    "cut out": lambda x: F.pad(x, (1, 2, 0, 3, 4, 0))[:, 4:, :-3, 1:-2],
    "repeated": lambda x: x[:1].expand(x.shape),
}


@pytest.mark.parametrize("laid_out", LAYOUTS.values(), ids=LAYOUTS)
def test_any_memory_layout_is_supported(laid_out):
    x, weight, bias = operands((3, 70, 9, 11), (4, 70, 3, 3))
    x = laid_out(x.detach()).requires_grad_()
    weight = weight.detach().contiguous(memory_format=torch.channels_last).requires_grad_()
    expected = value_and_gradients(F.conv2d, [x, weight, bias], 2)
    result = value_and_gradients(products, [x, weight, bias], (2, 2))
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_only_required_gradients_are_computed(monkeypatch):
    x, weight, bias = operands((2, 70, 6, 6), (3, 70, 3, 3))
    monkeypatch.setattr(convolution_products, "_input_gradient", None)
    products(x.detach(), weight, bias, (1, 1)).sum().backward()
    assert weight.grad is not None
    monkeypatch.undo()
    monkeypatch.setattr(convolution_products, "_weight_gradient", None)
    products(x, weight.detach(), bias.detach(), (1, 1)).sum().backward()
    assert x.grad is not None


@pytest.mark.parametrize("channels", [2, 130])
def test_first_second_and_forward_derivatives_of_products(channels):
    tensors = operands((2, channels, 4, 5), (2, channels, 2, 3))

    def convolve(x, weight, bias):
        return products(x, weight, bias, (2, 1))

    assert torch.autograd.gradcheck(convolve, tensors, check_forward_ad=True, fast_mode=True)
    assert torch.autograd.gradgradcheck(convolve, tensors, fast_mode=True)


def test_torch_func_differentiates_products():
    x, weight, bias = (tensor.detach() for tensor in operands((2, 70, 7, 7), (3, 70, 3, 3)))

    def loss(convolve):
        return lambda *tensors: convolve(*tensors, (2, 2)).square().sum()

    expected = torch.func.grad(loss(F.conv2d), argnums=(0, 1, 2))(x, weight, bias)
    result = torch.func.grad(loss(products), argnums=(0, 1, 2))(x, weight, bias)
    tangents = tuple(draw(*tensor.shape, seed=7) for tensor in (x, weight, bias))
    expected += torch.func.jvp(loss(F.conv2d), (x, weight, bias), tangents)
    result += torch.func.jvp(loss(products), (x, weight, bias), tangents)
    for one, other in zip(result, expected, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("instructions", [False, True])
@pytest.mark.parametrize("weights", [(16, 70, 9, 9), (16, 2, 5, 5)])
def test_bfloat16_is_rounded_as_by_torch(instructions, weights, monkeypatch):
    monkeypatch.setattr(convolution_products, "multiplies_bfloat16", lambda: instructions)
    tensors = [tensor.detach() for tensor in operands((3, weights[1], 14, 13), weights)]
    rounded = [tensor.bfloat16().requires_grad_() for tensor in tensors]
    exact = value_and_gradients(F.conv2d, [t.requires_grad_() for t in tensors], 2)
    torch_results = value_and_gradients(F.conv2d, rounded, 2)
    ours = value_and_gradients(products, rounded, (2, 2))
    for result, reference, expected in zip(ours, torch_results, exact, strict=True):
        assert result.dtype == torch.bfloat16
        assert F.cosine_similarity(result.double().flatten(), expected.flatten(), dim=0) > 0.9999
        assert relative(result, expected) < 1.5 * relative(reference, expected)


def test_sums_of_bfloat16_products_are_not_rounded(monkeypatch):
    monkeypatch.setattr(convolution_products, "multiplies_bfloat16", lambda: True)
    tensors = operands((2, 70, 30, 5), (8, 70, 15, 2))
    rounded = [tensor.detach().bfloat16().requires_grad_() for tensor in tensors]
    exact = [tensor.detach().double().requires_grad_() for tensor in rounded]
    ours = value_and_gradients(products, rounded, (1, 1))
    exact_value = value_and_gradients(F.conv2d, exact, 1)
    # Value and gradient of the weights. Rounding once to eight bits gives an error of 0.0016;
    # rounding after each of their 15 and 16 products would give 0.005.
    for result, expected in ((ours[0], exact_value[0]), (ours[2], exact_value[2])):
        assert relative(result, expected) < 0.003


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32])
def test_autocast_does_not_apply_inside(dtype):
    tensors = [
        tensor.detach().to(dtype).requires_grad_()
        for tensor in operands((2, 70, 6, 6), (3, 70, 3, 3))
    ]
    outside = value_and_gradients(products, tensors, (1, 1))
    with torch.autocast("cpu", torch.bfloat16):
        inside = value_and_gradients(products, tensors, (1, 1))
    assert all(map(torch.equal, inside, outside))
