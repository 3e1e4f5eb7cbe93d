"""Self-attention routing against loops in float64, and its squash."""

import math

import pytest
import torch

from capsbench.capsules.capsule import exponential_squash
from capsbench.capsules.self_attention_routing import SelfAttentionRouting, self_attention_routing


def tensors(batch=2, children=5, parents=3, dim=4, parent_dim=6):
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, children, dim), (children, parents, dim, parent_dim), (children, parents)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def naive(poses, weights, bias):
    """Return the parents and couplings of one image, from the matrix of all pairs of votes."""
    children, parents, _, dim = weights.shape
    votes = [[poses[i] @ weights[i, j] for i in range(children)] for j in range(parents)]
    attention = [
        [sum(float(a @ b) for b in own) / math.sqrt(dim) for a in own] for own in votes
    ]  # a row of the matrix, summed up
    couplings = torch.zeros(children, parents, dtype=torch.float64)
    for i in range(children):
        exponentials = [math.exp(attention[j][i]) for j in range(parents)]
        couplings[i] = torch.tensor(exponentials) / sum(exponentials)
    routed = []
    for j in range(parents):
        total = sum((couplings[i, j] + bias[i, j]) * votes[j][i] for i in range(children))
        norm = float(total.square().sum()) ** 0.5
        routed.append((1 - math.exp(-norm)) * total / norm)
    return torch.stack(routed), couplings


def test_result_is_that_of_loops():
    children, weights, bias = tensors()
    weights = 0.3 * weights
    result = self_attention_routing(children, weights, bias=bias)
    for image, poses in enumerate(children):
        parents, couplings = naive(poses, weights, bias)
        torch.testing.assert_close(result.couplings[image], couplings, rtol=1e-6, atol=1e-8)
        torch.testing.assert_close(result.parents[image], parents, rtol=1e-6, atol=1e-8)


def test_gradients_are_right():
    inputs = [(0.3 * each).requires_grad_() for each in tensors(batch=1, children=3, parents=2)]

    def route(children, weights, bias):
        return self_attention_routing(children, weights, bias=bias).parents

    assert torch.autograd.gradcheck(route, inputs)


def test_a_layer_starts_with_the_variance_of_the_authors():
    torch.manual_seed(0)
    layer = SelfAttentionRouting(num_children=16, child_dim=8, num_parents=10, parent_dim=16)
    assert float(layer.weights.detach().std()) == pytest.approx(math.sqrt(2 / 1280), rel=0.02)
    assert not layer.bias.any()
    children = torch.randn(3, 16, 8)
    assert layer.check_couplings(children) < 1e-6
    assert layer.check_squash(children) < 1e-6
    assert layer.check_batch_independence(children) < 1e-6
    rotation = torch.linalg.qr(torch.randn(16, 16)).Q
    assert layer.check_orthogonal(children, rotation) < 1e-5
    assert layer.check_orthogonal(children, 2 * rotation) > 1e-2


@pytest.mark.parametrize("scale", [1e-15, 1e-4, 1.0, 1e4])
def test_squash_keeps_the_direction_at_any_length(scale):
    vectors = scale * torch.tensor([[3.0, 4.0], [0.0, -1.0]])
    squashed = exponential_squash(vectors)
    expected = -torch.expm1(-vectors.norm(dim=-1).double())
    torch.testing.assert_close(squashed.norm(dim=-1).double(), expected, rtol=1e-6, atol=0)
    torch.testing.assert_close(
        torch.nn.functional.normalize(squashed, eps=0), torch.tensor([[0.6, 0.8], [0.0, -1.0]])
    )


def test_zero_stays_zero_with_a_finite_gradient():
    vectors = torch.zeros(2, 3, requires_grad=True)
    squashed = exponential_squash(vectors)
    squashed.sum().backward()
    assert vectors.grad is not None
    assert not squashed.any() and vectors.grad.isfinite().all()
