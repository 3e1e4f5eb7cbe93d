"""Triton's kernels of dynamic routing against stored votes and autograd in double precision."""

import pytest
import torch

KERNELS = "capsbench.capsules.kernels.dynamic_triton"
# Largest error relative to the largest value.
TOLERANCE = {torch.float64: 1e-13, torch.float32: 3e-6}
SHAPES = {  # batch, children, parents, length of a child, of a parent
    "odd": (3, 7, 3, 2, 5),
    "powers of two": (2, 5, 4, 4, 8),
    "tiles of few samples": (33, 2, 10, 3, 16),
    "alone": (1, 1, 1, 1, 1),
}
# All shapes in double precision, and the odd one in single precision.
CASES = [(shape, 1.0, torch.float64) for shape in SHAPES.values()]
CASES += [(SHAPES["odd"], scale, torch.float32) for scale in (0.1, 0.3, 1.0)]
every_case = pytest.mark.parametrize(("shape", "scale", "dtype"), CASES)


def random_inputs(shape, *, scale=1.0, iterations=3):
    """Return children, weights, parent_sum (zero at first), gradients of sums and of couplings."""
    batch, num_children, num_parents, dim, parent_dim = shape
    generator = torch.Generator().manual_seed(0)

    def normal(*sizes):
        return torch.randn(sizes, generator=generator, dtype=torch.float64)

    steps = (iterations, batch, num_parents, parent_dim)
    parent_sum = 0.5 * normal(*steps)
    parent_sum[0] = 0
    return (
        normal(batch, num_children, dim),
        scale * normal(num_children, num_parents, dim, parent_dim),
        parent_sum,
        normal(*steps),
        normal(batch, num_children, num_parents),
    )


def naive(children, weights, parent_sum):
    """Return sums and couplings from all votes (B, I, J, E)."""
    votes = torch.einsum("bid,ijde->bije", children, weights)
    couplings = torch.einsum("bije,bje->bij", votes, parent_sum).softmax(dim=-1)
    return torch.einsum("bij,bije->bje", couplings, votes), couplings


def assert_agree(result, expected, dtype):
    for one, other in zip(result, expected, strict=True):
        assert one.dtype == dtype
        scale = max(other.abs().max().item(), 1e-3)
        torch.testing.assert_close(one.double(), other, rtol=0, atol=TOLERANCE[dtype] * scale)


def coupling_gradient(gradient, *, coupled):
    """Return the couplings' gradient, or None for zeros."""
    return gradient if coupled else None


@every_case
def test_weighted_sum(on_gpu, shape, scale, dtype):
    children, weights, parent_sum, _, _ = random_inputs(shape, scale=scale)
    for parents, given in ((parent_sum[1], parent_sum[1].to(dtype)), (parent_sum[0], None)):
        result = on_gpu(f"{KERNELS}:weighted_sum", children.to(dtype), weights.to(dtype), given)
        assert_agree(result, naive(children, weights, parents), dtype)


@every_case
def test_agreement_gradient(on_gpu, shape, scale, dtype):
    check_agreement_gradient(on_gpu, random_inputs(shape, scale=scale), dtype=dtype)


def check_agreement_gradient(on_gpu, inputs, *, coupled=True, dtype=torch.float64):
    children, weights, (_, parent_sum, _), (_, factors, _), others = inputs
    sums, couplings = naive(children, weights, parent_sum.requires_grad_())
    total = (sums * factors).sum() + coupled * (couplings * others).sum()
    expected = torch.autograd.grad(total, [parent_sum])
    given = [x.detach().to(dtype) for x in (children, weights, parent_sum, factors, others)]
    given[-1] = coupling_gradient(given[-1], coupled=coupled)
    assert_agree([on_gpu(f"{KERNELS}:agreement_gradient", *given)], expected, dtype)


def check_vote_gradients(on_gpu, inputs, *, coupled=True, dtype=torch.float64):
    children, weights, *_ = inputs_with_grad = [x.clone().requires_grad_() for x in inputs[:2]]
    *steps, others = inputs[2:]
    total = 0
    for parent_sum, factors in zip(*steps, strict=True):
        sums, couplings = naive(children, weights, parent_sum)
        total = total + (sums * factors).sum()
    total = total + coupled * (couplings * others).sum()
    given = [x.to(dtype) for x in inputs]
    given[-1] = coupling_gradient(given[-1], coupled=coupled)
    result = on_gpu(f"{KERNELS}:vote_gradients", *given)
    assert_agree(result, torch.autograd.grad(total, inputs_with_grad), dtype)


@every_case
def test_vote_gradients(on_gpu, shape, scale, dtype):
    check_vote_gradients(on_gpu, random_inputs(shape, scale=scale), dtype=dtype)


@pytest.mark.parametrize("check", [check_agreement_gradient, check_vote_gradients])
def test_couplings_may_have_no_gradient(on_gpu, check):
    check(on_gpu, random_inputs(SHAPES["odd"]), coupled=False)


@pytest.mark.parametrize("iterations", [1, 2, 4])
def test_vote_gradients_of_other_numbers_of_iterations(on_gpu, iterations):
    inputs = random_inputs(SHAPES["odd"], iterations=iterations)
    check_vote_gradients(on_gpu, inputs, coupled=iterations > 1)


def test_vote_gradients_of_more_tiles_than_groups(on_gpu):
    """A program sums the weights' gradient over several tiles."""
    check_vote_gradients(on_gpu, random_inputs((131, 2, 10, 3, 16)))


def every_result(on_gpu, inputs):
    children, weights, parent_sum, factors, others = inputs
    common = children, weights, parent_sum[1]
    return (
        *on_gpu(f"{KERNELS}:weighted_sum", *common),
        on_gpu(f"{KERNELS}:agreement_gradient", *common, factors[1], others),
        *on_gpu(f"{KERNELS}:vote_gradients", *inputs),
    )


def test_gradients_can_be_views(on_gpu):
    *others, factors, couplings = random_inputs(SHAPES["odd"])
    views = factors[:, :1].expand(factors.shape), couplings.mT.contiguous().mT
    assert not any(x.is_contiguous() for x in views)
    result = every_result(on_gpu, (*others, *views))
    expected = every_result(on_gpu, (*others, *(x.contiguous() for x in views)))
    assert all(map(torch.equal, result, expected))


@pytest.mark.parametrize("absent", [0.5, 1.0])
def test_children_of_zeros_have_uniform_couplings(on_gpu, absent):
    children, *others = random_inputs(SHAPES["odd"])
    absent_mask = (
        torch.rand(children.shape[:2], generator=torch.Generator().manual_seed(0)) < absent
    )
    children = children.masked_fill(absent_mask[..., None], 0)
    _, couplings = on_gpu(f"{KERNELS}:weighted_sum", children, others[0], others[1][1])
    torch.testing.assert_close(
        couplings[absent_mask], torch.full_like(couplings[absent_mask], 1 / 3)
    )
    check_vote_gradients(on_gpu, (children, *others))


@pytest.mark.parametrize("scale", [1e-30, 1e15])
def test_extreme_votes_have_finite_results(on_gpu, scale):
    children, weights, parent_sum, factors, others = random_inputs(SHAPES["odd"])
    inputs = scale * children, weights, parent_sum, factors / max(scale, 1), others
    result = every_result(on_gpu, [x.float() for x in inputs])
    assert all(x.isfinite().all() for x in result)
    torch.testing.assert_close(result[1].sum(dim=-1), torch.ones(3, 7))


def test_the_same_input_gives_the_same_bits(on_gpu):
    inputs = [x.float() for x in random_inputs(SHAPES["odd"])]
    assert all(map(torch.equal, every_result(on_gpu, inputs), every_result(on_gpu, inputs)))
