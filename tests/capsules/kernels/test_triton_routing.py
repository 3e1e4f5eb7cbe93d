"""Complete routings by Triton, on a GPU or in its interpreter, against the textbook backend."""

import pytest
import torch

from capsbench.capsules.dynamic_routing import dynamic_routing
from capsbench.capsules.em_routing import em_routing
from tests.capsules.em_reference import layer
from tests.capsules.kernels.gpu import squares

GPU = "tests.capsules.kernels.gpu"


def assert_agree(result, expected):
    for one, other in zip(result, expected, strict=True):
        scale = max(other.abs().max().item(), 1e-3)
        torch.testing.assert_close(one.cpu(), other.detach(), rtol=0, atol=1e-10 * scale)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_dynamic_routing(on_gpu, scale):
    generator = torch.Generator().manual_seed(0)
    children, weights, bias = (
        torch.randn(size, generator=generator, dtype=torch.float64)
        for size in ((3, 7, 2), (7, 3, 2, 5), (3, 5))
    )
    children[:, 2] = 0
    weights = scale * weights
    inputs = [x.clone().requires_grad_() for x in (children, weights, bias)]
    expected = dynamic_routing(*inputs[:2], iterations=3, bias=inputs[2], backend="textbook")
    gradients = torch.autograd.grad(squares(expected), inputs)
    assert_agree(on_gpu(f"{GPU}:dynamic", children, weights, bias), (*expected, *gradients))


@pytest.mark.parametrize("scale", [0.1, 1.0])
def test_em_routing(on_gpu, scale):
    tensors = layer(size=(5, 3), kernel=(3, 3), out_types=3, batch=1, scale=scale)
    tensors.presences[0, 1] = 0
    offsets = torch.linspace(0, 1, 144, dtype=torch.float64).view(3, 3, 4, 4)
    inputs = [x.clone().requires_grad_() for x in tensors]
    expected = em_routing(
        *inputs[:3],
        beta_u=inputs[3],
        beta_a=inputs[4],
        inverse_temperature=0.7,
        iterations=3,
        stride=2,
        offsets=offsets,
        backend="textbook",
    )
    gradients = torch.autograd.grad(squares(expected), inputs)
    assert_agree(on_gpu(f"{GPU}:em", *tensors, offsets), (*expected, *gradients))
