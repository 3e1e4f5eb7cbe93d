import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.capsules.dynamic_routing import DynamicRouting, dynamic_routing


def naive(children, weights, iterations, bias=None):
    """Equations 7-11 of the article, written as loops over images, children and parents."""
    B, N, _ = children.shape
    J = weights.shape[1]
    results = []
    for b in range(B):
        votes = [[children[b, i] @ weights[i, j] for j in range(J)] for i in range(N)]  # eq. 7
        logits = [[torch.zeros((), dtype=children.dtype) for _ in range(J)] for _ in range(N)]
        for _ in range(iterations):
            couplings = [torch.stack(row).softmax(0) for row in logits]  # eq. 8
            parents = []
            for j in range(J):
                s = sum(couplings[i][j] * votes[i][j] for i in range(N))  # eq. 9
                if bias is not None:
                    s = s + bias[j]
                squared = (s * s).sum()
                parents.append(squared / (1 + squared) * s / squared.sqrt())  # eq. 10
            logits = [
                [logits[i][j] + votes[i][j] @ parents[j] for j in range(J)] for i in range(N)
            ]  # eq. 11
        results.append(torch.stack(parents))
    return torch.stack(results)


def case(scale=0.3, batch=2, N=7, J=3, D=4, E=5, dtype=torch.float64):
    generator = torch.Generator().manual_seed(0)

    def draw(*shape):
        return torch.randn(*shape, generator=generator, dtype=dtype)

    return draw(batch, N, D), scale * draw(N, J, D, E), draw(J, E)


@pytest.mark.parametrize("scale", [0.05, 0.3, 1.0])
@pytest.mark.parametrize("iterations", [1, 2, 3, 5])
@pytest.mark.parametrize("biased", [False, True])
def test_value_and_gradient_are_those_of_the_equations(scale, iterations, biased):
    children, weights, bias = case(scale)
    inputs = [
        x.requires_grad_() for x in ((children, weights, bias) if biased else (children, weights))
    ]
    bias = bias if biased else None
    found = dynamic_routing(children, weights, iterations=iterations, bias=bias).parents
    expected = naive(children, weights, iterations, bias)
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-7)

    direction = torch.randn(found.shape, generator=torch.Generator().manual_seed(1)).double()
    gradients = torch.autograd.grad((found * direction).sum(), inputs)
    references = torch.autograd.grad((expected * direction).sum(), inputs)
    for gradient, reference in zip(gradients, references, strict=True):
        torch.testing.assert_close(gradient, reference, rtol=1e-5, atol=1e-6)


def test_couplings_sum_to_one_over_the_parents_and_differ():
    children, weights, _ = case(1.0)
    couplings = dynamic_routing(children, weights, iterations=3).couplings
    assert couplings.shape == (2, 7, 3)
    torch.testing.assert_close(couplings.sum(dim=2), torch.ones(2, 7).double())
    assert not torch.allclose(couplings.sum(dim=1), torch.full((2, 3), 7 / 3).double(), atol=1e-2)


def test_commutes_with_an_orthogonal_map_of_the_votes():
    children, weights, _ = case(0.5)
    Q = torch.linalg.qr(torch.randn(5, 5, generator=torch.Generator().manual_seed(2)).double()).Q
    turned = dynamic_routing(children, weights @ Q, iterations=3).parents
    plain = dynamic_routing(children, weights, iterations=3).parents
    torch.testing.assert_close(turned, plain @ Q, rtol=1e-12, atol=1e-12)


def test_order_of_children_and_company_in_the_batch_do_not_matter():
    children, weights, _ = case(0.5, batch=4)
    plain = dynamic_routing(children, weights, iterations=3).parents
    order = torch.randperm(7, generator=torch.Generator().manual_seed(3))
    shuffled = dynamic_routing(children[:, order], weights[order], iterations=3).parents
    torch.testing.assert_close(shuffled, plain)
    alone = dynamic_routing(children[2:3], weights, iterations=3).parents
    torch.testing.assert_close(alone, plain[2:3])


@settings(max_examples=40, deadline=None)
@given(
    st.integers(1, 3), st.integers(1, 3), st.integers(1, 4),
    st.sampled_from([0.0, 1e-30, 1.0, 1e15]),
)  # fmt: skip
def test_stays_finite(num_children, num_parents, iterations, scale):
    children, weights, _ = case(1.0, N=num_children, J=num_parents, dtype=torch.float32)
    children = (scale * children).requires_grad_()
    weights.requires_grad_()
    routed = dynamic_routing(children, weights, iterations=iterations)
    routed.parents.sum().backward()
    assert children.grad is not None and weights.grad is not None
    for tensor in (*routed, children.grad, weights.grad):
        assert tensor.isfinite().all()


def test_autocast_routes_in_float32():
    children, weights, _ = case(0.5, dtype=torch.float32)
    plain = dynamic_routing(children, weights, iterations=3).parents
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = dynamic_routing(children.bfloat16(), weights, iterations=3).parents
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, plain, rtol=0.1, atol=0.02)


def test_layer_gives_poses_and_their_lengths():
    torch.manual_seed(0)
    layer = DynamicRouting(num_children=6, child_dim=4, num_parents=3, parent_dim=5, bias=True)
    poses, presences = layer(torch.randn(2, 6, 4))
    assert poses.shape == (2, 3, 5)
    torch.testing.assert_close(presences, poses.norm(dim=-1), rtol=1e-4, atol=1e-6)
    presences.sum().backward()
    gradients = [parameter.grad for parameter in layer.parameters()]
    assert all(gradient is not None and gradient.any() for gradient in gradients)
