"""Dynamic routing against a loop written from the article's equations 7-11, and its properties."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.capsules.dynamic_routing import DynamicRouting, dynamic_routing
from capsbench.errors import UserError

INITIAL, LARGE, LARGEST = 0.1, 0.3, 1.0  # standard deviations of the weights


def layer(weight_scale=INITIAL, *, batch=2, children=4, parents=3, dim=2, parent_dim=5):
    """Return children, weights and bias of a random layer, in double precision."""
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=torch.float64)

    weights = weight_scale * normal(children, parents, dim, parent_dim)
    return normal(batch, children, dim), weights, 0.1 * normal(parents, parent_dim)


def naive(children, weights, *, iterations, bias=None, detached=False, overwritten=False):
    """Return parents and couplings, in loops over samples, children and parents.

    ``overwritten`` adds agreements to the softmax of the logits, as the article's text says.
    """
    every_i, every_j = range(weights.shape[0]), range(weights.shape[1])
    all_parents, all_couplings = [], []
    for u in children:
        votes = [[u[i] @ weights[i, j] for j in every_j] for i in every_i]  # eq. 7
        logits = [[weights.new_zeros(()) for _ in every_j] for _ in every_i]
        for _ in range(iterations):
            couplings = []
            for row in logits:  # eq. 8: a child is divided among the parents
                total = sum(logit.exp() for logit in row)
                couplings.append([logit.exp() / total for logit in row])
            parents = []
            for j in every_j:
                s = sum(couplings[i][j] * votes[i][j] for i in every_i)  # eq. 9
                if bias is not None:
                    s = s + bias[j]
                squared = s @ s
                parents.append(squared / (1 + squared) * s / squared.sqrt())  # eq. 10
            if overwritten:
                logits = [list(row) for row in couplings]
            for i in every_i:
                for j in every_j:  # eq. 11
                    agreement = votes[i][j] @ parents[j]
                    logits[i][j] = logits[i][j] + (agreement.detach() if detached else agreement)
        all_parents.append(torch.stack(parents))
        all_couplings.append(torch.stack([torch.stack(row) for row in couplings]))
    return torch.stack(all_parents), torch.stack(all_couplings)


def gradients(parents, inputs):
    """Return gradients of a sum with a fixed random factor for each element."""
    generator = torch.Generator().manual_seed(1)
    factors = torch.randn(parents.shape, generator=generator, dtype=torch.float64)
    return torch.autograd.grad((factors * parents).sum(), inputs)


@pytest.mark.parametrize("with_bias", [False, True])
@pytest.mark.parametrize("weight_scale", [INITIAL, LARGE, LARGEST])
@pytest.mark.parametrize("iterations", [1, 2, 3, 5, 10])
def test_values_and_gradients_match_the_equations(iterations, weight_scale, with_bias):
    children, weights, bias = (x.requires_grad_() for x in layer(weight_scale))
    inputs = (children, weights, bias) if with_bias else (children, weights)
    arguments = {"iterations": iterations, "bias": bias if with_bias else None}
    result = dynamic_routing(children, weights, **arguments)
    parents, couplings = naive(children, weights, **arguments)
    torch.testing.assert_close(result.parents, parents, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(result.couplings, couplings, rtol=1e-10, atol=1e-12)
    expected = gradients(parents, inputs)
    torch.testing.assert_close(gradients(result.parents, inputs), expected, rtol=1e-9, atol=1e-12)
    if 1 < iterations <= 5 and weight_scale == LARGEST:
        # The gradient differs if it does not flow through the agreement.
        detached, _ = naive(children, weights, **arguments, detached=True)
        for wrong, right in zip(gradients(detached, inputs)[:2], expected[:2], strict=True):
            assert (wrong - right).norm() > 0.03 * right.norm()


def test_agreements_are_summed_in_the_logits_not_in_their_softmax():
    children, weights, _ = layer(LARGEST)
    result = dynamic_routing(children, weights, iterations=3).parents
    logits, softmax = (
        naive(children, weights, iterations=3, overwritten=literal)[0] for literal in (False, True)
    )
    torch.testing.assert_close(result, logits)
    assert (result - softmax).abs().max() > 0.01


def test_routing_refuses_no_iteration_and_other_children():
    children, weights, _ = layer()
    with pytest.raises(UserError, match="at least one iteration"):
        dynamic_routing(children, weights, iterations=0)
    with pytest.raises(UserError, match=r"4 children of length 2.*\(3, 2\)"):
        dynamic_routing(children[:, 1:], weights, iterations=1)


def test_gradient_equals_finite_differences():
    children, weights, bias = (x.requires_grad_() for x in layer(LARGEST, batch=1))

    def routed(children, weights, bias):
        return tuple(dynamic_routing(children, weights, iterations=3, bias=bias))

    assert torch.autograd.gradcheck(routed, (children, weights, bias))


def test_couplings_sum_to_one_over_the_parents():
    children, weights, _ = layer(LARGEST, children=7)
    couplings = dynamic_routing(children, weights, iterations=3).couplings
    assert couplings.shape == (2, 7, 3)
    torch.testing.assert_close(couplings.sum(dim=2), torch.ones(2, 7, dtype=torch.float64))
    assert (couplings.sum(dim=1) - 1).abs().min() > 0.1
    assert couplings.std(dim=2).max() > 0.05  # no longer uniform


def test_one_iteration_is_uniform():
    children, weights, _ = layer(LARGEST)
    couplings = dynamic_routing(children, weights, iterations=1).couplings
    torch.testing.assert_close(couplings, torch.full_like(couplings, 1 / 3))


def test_orthogonal_map_of_the_votes_maps_the_parents():
    children, weights, _ = layer(LARGEST, parent_dim=5)
    generator = torch.Generator().manual_seed(2)
    turn, _ = torch.linalg.qr(torch.randn(5, 5, generator=generator, dtype=torch.float64))
    plain = dynamic_routing(children, weights, iterations=3)
    turned = dynamic_routing(children, weights @ turn, iterations=3)
    torch.testing.assert_close(turned.parents, plain.parents @ turn, rtol=0, atol=1e-13)
    torch.testing.assert_close(turned.couplings, plain.couplings, rtol=0, atol=1e-13)
    assert (turned.parents - plain.parents).abs().max() > 0.1


def test_order_of_children_does_not_matter():
    children, weights, _ = layer(LARGEST, children=6)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    plain = dynamic_routing(children, weights, iterations=3)
    permuted = dynamic_routing(children[:, order], weights[order], iterations=3)
    torch.testing.assert_close(permuted.parents, plain.parents, rtol=0, atol=1e-13)
    torch.testing.assert_close(permuted.couplings, plain.couplings[:, order], rtol=0, atol=1e-13)


def test_images_are_independent():
    children, weights, _ = layer(LARGEST, batch=3)
    children.requires_grad_()
    together = dynamic_routing(children, weights, iterations=3).parents
    alone = dynamic_routing(children[1:2], weights, iterations=3).parents
    torch.testing.assert_close(together[1:2], alone, rtol=0, atol=1e-13)
    (gradient,) = torch.autograd.grad(together[1].sum(), children)
    assert [bool(image.any()) for image in gradient] == [False, True, False]


def test_children_of_length_zero_make_parents_of_length_zero():
    children, weights, _ = layer()
    children = torch.zeros_like(children).requires_grad_()
    parents = dynamic_routing(children, weights, iterations=3).parents
    assert not parents.any()
    (gradient,) = torch.autograd.grad(parents.sum(), children)
    assert not gradient.any()  # the squash has zero gradient there


@given(
    shape=st.tuples(*[st.integers(1, 3)] * 5),
    scales=st.tuples(*[st.sampled_from([0.0, 1e-30, 1e-5, 1.0, 1e4, 1e15])] * 2),
    iterations=st.integers(1, 10),
    half=st.booleans(),
    seed=st.integers(0, 99),
)
@settings(max_examples=60, deadline=None)
def test_values_and_gradients_are_finite(shape, scales, iterations, half, seed):
    batch, num_children, num_parents, dim, parent_dim = shape
    generator = torch.Generator().manual_seed(seed)
    children = scales[0] * torch.randn(batch, num_children, dim, generator=generator)
    weights = scales[1] * torch.randn(
        num_children, num_parents, dim, parent_dim, generator=generator
    )
    inputs = [x.requires_grad_() for x in (children, weights)]
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=half):
        parents, couplings = dynamic_routing(children, weights, iterations=iterations)
    assert parents.shape == (batch, num_parents, parent_dim)
    assert (parents.norm(dim=-1) <= 1 + 1e-6).all()
    torch.testing.assert_close(couplings.sum(dim=2), torch.ones(batch, num_children))
    for gradient in torch.autograd.grad(parents.sum(), inputs):
        assert gradient.isfinite().all()


def test_autocast_does_not_apply_to_the_routing():
    children, weights, bias = (x.float() for x in layer(LARGEST, children=64))
    half = children.bfloat16()
    expected = dynamic_routing(children, weights, iterations=3, bias=bias)
    rounded = dynamic_routing(half.float(), weights, iterations=3, bias=bias)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        same = dynamic_routing(children, weights, iterations=3, bias=bias)
        near = dynamic_routing(half, weights, iterations=3, bias=bias)
    assert all(map(torch.equal, same, expected))
    assert all(map(torch.equal, near, rounded))
    torch.testing.assert_close(near.parents, expected.parents, rtol=0, atol=0.02)


# Checks of the layer


def routing_layer(**more):
    torch.manual_seed(0)
    routing = DynamicRouting(num_children=40, child_dim=4, num_parents=3, parent_dim=5, **more)
    with torch.no_grad():
        routing.weights.mul_(5)
    return routing, 2 * torch.randn(6, 40, 4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("iterations", [1, 3, 10])
def test_checks_of_a_layer_pass(iterations, bias, dtype):
    routing, children = routing_layer(iterations=iterations, bias=bias)
    routing, children = routing.to(dtype), children.to(dtype)
    rounding = 100 * torch.finfo(dtype).eps
    assert routing.check_couplings(children) < rounding
    assert routing.check_squash(children) < rounding
    assert routing.check_permutation(children, torch.randperm(40)) < rounding
    assert routing.check_batch_independence(children) < rounding
    turn, _ = torch.linalg.qr(torch.randn(5, 5, dtype=dtype))
    if bias:  # which does not rotate with the votes
        assert routing.check_orthogonal(children, turn) > 1e-3
    else:
        assert routing.check_orthogonal(children, turn) < rounding


def test_check_fails_for_maps_that_are_not_orthogonal():
    routing, children = routing_layer()
    assert routing.check_orthogonal(children, 2 * torch.eye(5)) > 0.1
    shear = torch.eye(5)
    shear[0, 1] = 1
    assert routing.check_orthogonal(children, shear) > 0.01


def test_checks_fail_for_a_broken_layer(monkeypatch):
    routing, children = routing_layer()
    right = routing.route

    def wrong(children):
        """Return parents that depend on batch and child order and are too long; wrong couplings."""
        parents, couplings = right(children)
        parents = 3 * parents + parents.mean(dim=0) + children[:, 0, 0, None, None]
        return type(right(children))(parents, couplings.softmax(dim=1))

    monkeypatch.setattr(routing, "route", wrong)
    turn, _ = torch.linalg.qr(torch.randn(5, 5))
    assert routing.check_couplings(children) > 0.1
    assert routing.check_squash(children) > 0.1
    assert routing.check_permutation(children, torch.randperm(40)) > 0.1
    assert routing.check_batch_independence(children) > 0.1
    assert routing.check_orthogonal(children, turn) > 0.1


def test_layer_accepts_an_empty_batch():
    routing, children = routing_layer(bias=True)
    poses, presences = routing(children[:0])
    assert (poses.shape, presences.shape) == ((0, 3, 5), (0, 3))
    assert routing.vote_shape(children) == (6, 40, 3, 5)
