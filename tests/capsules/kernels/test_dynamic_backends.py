"""Every backend of dynamic routing against the textbook backend in double precision."""

import pytest
import torch

from capsbench.capsules.backends import unavailable_reason
from capsbench.capsules.capsule import squash, squash_gradient
from capsbench.capsules.dynamic_routing import DynamicRouting, dynamic_routing
from capsbench.capsules.kernels import dynamic_eager
from capsbench.capsules.kernels.loading import kernels
from capsbench.errors import UserError
from capsbench.profiling.peak_memory import peak_bytes

CPU = torch.device("cpu")
# Largest error relative to the largest value, of parents, couplings and all gradients.
TOLERANCE = {torch.float64: 1e-12, torch.float32: 2e-5}
SHAPES = {  # batch, children, parents, length of a child, of a parent
    "odd": (3, 7, 3, 2, 5),
    "a whole tile": (16, 12, 4, 8, 16),
    "more than a tile, more children than slices": (19, 37, 10, 8, 16),
    "alone": (1, 1, 1, 1, 1),
    "many parents": (9, 2, 70, 2, 16),
}


def available(backend):
    reason = unavailable_reason(backend, CPU)
    return pytest.param(backend, marks=pytest.mark.skipif(reason is not None, reason=str(reason)))


FAST = [available("eager"), available("native")]


def problem_of(shape, *, scale, absent=0.0):
    """Return children, some of them zero, weights and bias, in double precision."""
    batch, num_children, num_parents, dim, parent_dim = shape
    generator = torch.Generator().manual_seed(0)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    children = normal(batch, num_children, dim)
    children[torch.rand(batch, num_children, generator=generator) < absent] = 0
    return (
        children,
        scale * normal(num_children, num_parents, dim, parent_dim),
        0.1 * normal(num_parents, parent_dim),
    )


def values_and_gradients(inputs, *, backend, iterations):
    """Return parents, couplings, and gradients of their sum with fixed random factors."""
    children, weights, bias = (x.detach().clone().requires_grad_() for x in inputs)
    result = dynamic_routing(children, weights, iterations=iterations, bias=bias, backend=backend)
    generator = torch.Generator().manual_seed(1)
    factors = [torch.randn(x.shape, generator=generator, dtype=torch.float64) for x in result]
    # Couplings of one iteration are constant.
    outputs = [x for x in result if x.requires_grad]
    output_gradients = [
        factor.to(x) for factor, x in zip(factors, result, strict=True) if x.requires_grad
    ]
    return *result, *torch.autograd.grad(outputs, (children, weights, bias), output_gradients)


def assert_agree(result, expected, tolerance):
    for one, other in zip(result, expected, strict=True):
        scale = max(other.abs().max().item(), 1e-3)
        torch.testing.assert_close(one.double(), other, rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("scale", [0.1, 0.3, 1.0])
@pytest.mark.parametrize("shape", SHAPES.values(), ids=SHAPES)
@pytest.mark.parametrize("backend", FAST)
def test_agrees_with_the_textbook(backend, shape, scale, dtype):
    inputs = problem_of(shape, scale=scale)
    expected = values_and_gradients(inputs, backend="textbook", iterations=3)
    result = values_and_gradients([x.to(dtype) for x in inputs], backend=backend, iterations=3)
    assert {x.dtype for x in result} == {dtype}
    assert_agree(result, expected, TOLERANCE[dtype])


@pytest.mark.parametrize("iterations", [1, 2, 5])
@pytest.mark.parametrize("backend", FAST)
def test_agrees_at_other_numbers_of_iterations(backend, iterations):
    inputs = problem_of(SHAPES["odd"], scale=1.0)
    arguments = {"iterations": iterations}
    expected = values_and_gradients(inputs, backend="textbook", **arguments)
    assert_agree(values_and_gradients(inputs, backend=backend, **arguments), expected, 1e-12)


@pytest.mark.parametrize("absent", [0.5, 1.0])
@pytest.mark.parametrize("backend", FAST)
def test_agrees_for_children_of_zeros(backend, absent):
    inputs = problem_of(SHAPES["a whole tile"], scale=1.0, absent=absent)
    expected = values_and_gradients(inputs, backend="textbook", iterations=3)
    assert_agree(values_and_gradients(inputs, backend=backend, iterations=3), expected, 1e-12)


def test_gradients_flow_through_the_agreement():
    """Uses the large weights of the test above; with initial weights the effect is small."""
    children, weights, bias = (x.requires_grad_() for x in problem_of(SHAPES["odd"], scale=1.0))
    parents, couplings = dynamic_routing(
        children, weights, iterations=3, bias=bias, backend="eager"
    )
    votes = torch.einsum("bid,ijde->bije", children, weights)
    detached = squash(torch.einsum("bij,bije->bje", couplings.detach(), votes) + bias)
    torch.testing.assert_close(detached, parents)
    whole, part = (torch.autograd.grad(x.sum(), weights)[0] for x in (parents, detached))
    assert (whole - part).abs().max() > 0.05 * whole.abs().max()


@pytest.mark.parametrize("backend", FAST)
def test_gradient_equals_finite_differences(backend):
    inputs = [x.requires_grad_() for x in problem_of((2, 4, 3, 2, 5), scale=1.0)]

    def routed(children, weights, bias):
        return tuple(dynamic_routing(children, weights, iterations=3, bias=bias, backend=backend))

    assert torch.autograd.gradcheck(routed, inputs)


@pytest.mark.slow
@pytest.mark.skipif(unavailable_reason("compiled", CPU) is not None, reason="no compiler")
def test_compiled_agrees(monkeypatch):
    """With two slices of unequal size; each shape is compiled separately, in seconds."""
    monkeypatch.setattr(dynamic_eager, "SLICE", 3 * 4 * 2 * 4)
    inputs = problem_of((3, 7, 4, 2, 8), scale=1.0)
    expected = values_and_gradients(inputs, backend="textbook", iterations=2)
    single = [x.float() for x in inputs]
    result = values_and_gradients(single, backend="compiled", iterations=2)
    assert_agree(result, expected, TOLERANCE[torch.float32])


@pytest.mark.parametrize("numbers", [1, 100, 2**20])
def test_slices_do_not_change_results(numbers, monkeypatch):
    inputs = problem_of(SHAPES["odd"], scale=1.0)
    expected = values_and_gradients(inputs, backend="textbook", iterations=3)
    monkeypatch.setattr(dynamic_eager, "SLICE", numbers)
    assert_agree(values_and_gradients(inputs, backend="eager", iterations=3), expected, 1e-12)


@pytest.mark.parametrize("children_scale", [1e-30, 1.0, 1e15])
@pytest.mark.parametrize("weights_scale", [0.0, 1e-30, 1.0, 1e15])
@pytest.mark.parametrize("backend", FAST)
def test_extreme_votes_have_finite_values_and_gradients(backend, children_scale, weights_scale):
    children, weights, bias = (x.float() for x in problem_of(SHAPES["a whole tile"], scale=1.0))
    inputs = children_scale * children, weights_scale * weights, bias
    result = values_and_gradients(inputs, backend=backend, iterations=3)
    assert all(x.isfinite().all() for x in result)
    assert (result[0].norm(dim=-1) <= 1 + 1e-6).all()


@pytest.mark.parametrize("backend", FAST)
def test_bits_do_not_depend_on_the_number_of_threads(backend):
    inputs = [x.float() for x in problem_of(SHAPES["a whole tile"], scale=1.0)]
    one = values_and_gradients(inputs, backend=backend, iterations=3)
    torch.set_num_threads(2)
    two = values_and_gradients(inputs, backend=backend, iterations=3)
    assert backend != "native" or all(map(torch.equal, one, two))
    assert_agree(two, [x.double() for x in one], 1e-6)


def test_fast_backends_have_a_gradient_and_the_textbook_every_derivative():
    children, weights, _ = problem_of(SHAPES["odd"], scale=1.0)

    def parents(children, backend="auto"):
        return dynamic_routing(children, weights, iterations=2, backend=backend).parents

    value, derivative = torch.func.jvp(parents, (children,), (children,))[:2]
    step = 1e-6 * children
    torch.testing.assert_close(
        1e-6 * derivative, parents(children + step) - value, atol=1e-10, rtol=0
    )
    each = torch.func.vmap(parents)(children[:, None])
    torch.testing.assert_close(each[:, 0], value)
    with pytest.raises(UserError, match="forward-mode"):
        torch.func.jvp(lambda x: parents(x, "eager"), (children,), (children,))
    with pytest.raises(UserError, match="vmap"):
        torch.func.vmap(lambda x: parents(x, "eager"))(children[:, None])
    result, expected = (
        torch.func.grad(lambda x, name=name: parents(x, name).sum())(children)
        for name in ("eager", "textbook")
    )
    torch.testing.assert_close(result, expected)


def test_squash_gradient_equals_autograd():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    vectors = (vectors * torch.logspace(-6, 6, 40, dtype=torch.float64)[:, None]).requires_grad_()
    gradient = torch.randn(40, 5, generator=generator, dtype=torch.float64)
    (expected,) = torch.autograd.grad(squash(vectors), vectors, gradient)
    result = squash_gradient(vectors.detach(), gradient)
    torch.testing.assert_close(result, expected, rtol=1e-10, atol=0)
    assert not squash_gradient(torch.zeros(2, 3), torch.ones(2, 3)).any()


def peak(backend, *, gradient):
    torch.manual_seed(0)
    layer = DynamicRouting(num_children=576, child_dim=8, num_parents=10, parent_dim=16)
    layer.backend = backend
    children = torch.randn(64, 576, 8, requires_grad=gradient)

    def route():
        with torch.set_grad_enabled(gradient):
            parents = layer(children).poses
        if gradient:
            torch.autograd.grad(parents.sum(), (children, layer.weights))

    route()
    votes = 4 * layer.vote_shape(children)[0] * 576 * 10 * 16
    return peak_bytes(route, "cpu") / votes


@pytest.mark.parametrize("gradient", [False, True])
@pytest.mark.parametrize("backend", FAST)
def test_votes_are_never_stored(backend, gradient, monkeypatch):
    """Peak memory of the layer as a fraction of all votes; the textbook backend holds several."""
    monkeypatch.setattr(dynamic_eager, "SLICE", 2**18)
    assert peak("textbook", gradient=gradient) > 1
    assert peak(backend, gradient=gradient) < min(0.75, peak("textbook", gradient=gradient) / 4)


def test_kernels_of_a_backend_are_created_once():
    for backend in ("eager", "compiled"):
        assert kernels("dynamic", backend) is kernels("dynamic", backend)
