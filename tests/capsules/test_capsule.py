"""The squash against its equation, at zero and with overflowing squares; precision."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from capsbench.capsules.capsule import check_squash, length, squash
from capsbench.capsules.precision import full_precision

EPS = {torch.float32: 2**-23, torch.float64: 2**-52}
magnitudes = [0.0, 1e-38, 1e-30, 1e-19, 1e-10, 1e-4, 0.5, 1.0, 2.0, 1e4, 1e15, 1e19, 1e30, 3e38]


def equation(vector):
    """Return eq. 10 of exact numbers, up to the rounding of the last step."""
    exact = [Fraction(x) for x in vector]
    squared = sum(x * x for x in exact)
    # sqrt of a fraction of any size: the scale is an exact power of two
    shift = (math.frexp(max(map(abs, vector)))[1] if any(vector) else 0) - 1
    norm = Fraction(math.sqrt(squared / Fraction(4) ** shift)) * Fraction(2) ** shift
    return [float(norm / (1 + squared) * x) for x in exact]


def numbers(dtype, largest):
    floats = {
        torch.float32: st.floats(-largest, largest, width=32, allow_subnormal=False),
        torch.float64: st.floats(-largest, largest, width=64, allow_subnormal=False),
    }
    return st.lists(floats[dtype], min_size=1, max_size=6)


@pytest.mark.parametrize("dtype", EPS)
@given(data=st.data())
@settings(deadline=None)
def test_squash_equals_equation_10_up_to_rounding(dtype, data):
    largest = data.draw(st.sampled_from([1.0, 2.0**10, 2.0**100]))
    vector = torch.tensor(data.draw(numbers(dtype, largest)), dtype=dtype)
    expected = torch.tensor(equation(vector.tolist()), dtype=torch.float64)
    tiny = torch.finfo(dtype).tiny ** 0.5  # squares of smaller elements underflow
    torch.testing.assert_close(
        squash(vector).double(), expected, rtol=12 * EPS[dtype], atol=2 * tiny**2
    )


@pytest.mark.parametrize("scale", magnitudes)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_squash_is_finite_and_stays_in_the_unit_ball(scale, dtype):
    vectors = (scale * torch.tensor([[1.0, -0.75, 0.5]]).double()).to(dtype).requires_grad_()
    squashed = squash(vectors)
    lengths = length(squashed)
    assert squashed.dtype == torch.promote_types(dtype, torch.float32)
    norm = vectors.detach().double().norm()
    expected = norm**2 / (1 + norm**2)
    result = squashed.detach().double().norm(dim=-1)[0]
    torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-37)
    torch.testing.assert_close(lengths.detach()[0].double(), result, rtol=1e-6, atol=1e-19)
    assert (lengths <= 1).all()
    (gradient,) = torch.autograd.grad((squashed + lengths[:, None]).sum(), vectors)
    assert gradient.isfinite().all()
    assert scale > 0 or not gradient.any()


def test_squash_of_zero_has_value_and_gradient_zero():
    s = torch.zeros(2, 3, requires_grad=True)
    squashed = squash(s)
    squashed.sum().backward()
    assert torch.equal(squashed, torch.zeros(2, 3))
    assert s.grad is not None and torch.equal(s.grad, torch.zeros(2, 3))


def test_length_of_zero_has_finite_gradient():
    s = torch.zeros(2, 3, requires_grad=True)
    lengths = length(s)
    lengths.sum().backward()
    assert torch.equal(lengths, torch.zeros(2))
    assert s.grad is not None and torch.equal(s.grad, torch.zeros(2, 3))


@pytest.mark.parametrize("scale", [0.0, 0.3, 1.0, 5.0])
def test_gradient_of_squash_equals_finite_differences(scale):
    generator = torch.Generator().manual_seed(0)
    s = scale * torch.randn(4, 3, generator=generator, dtype=torch.float64)
    s.requires_grad_()
    if scale:
        assert torch.autograd.gradcheck(lambda s: length(squash(s)), s)
        assert torch.autograd.gradgradcheck(squash, s)
    assert torch.autograd.gradcheck(squash, s, check_forward_ad=True)


@given(numbers(torch.float32, 2.0**100))
@settings(deadline=None)
def test_squash_stays_within_the_unit_ball_and_keeps_the_direction(values):
    s = torch.tensor(values, requires_grad=True)
    squashed = squash(s)
    squashed.sum().backward()
    assert check_squash(s) <= 2 * EPS[torch.float32]
    assert length(squashed) <= 1
    assert (squashed * s >= 0).all()
    assert s.grad is not None and s.grad.isfinite().all()


def test_length_is_at_most_one_despite_rounding():
    squashed = squash(1e4 * torch.randn(1000, 16, generator=torch.Generator().manual_seed(0)))
    assert torch.linalg.vector_norm(squashed, dim=-1).max() > 1  # by a rounding
    assert length(squashed).max() == 1


def test_check_returns_the_excess_over_one(monkeypatch):
    vectors = torch.tensor([[3.0, 4.0], [0.1, 0.0]])
    assert check_squash(vectors) == 0.0
    monkeypatch.setattr("capsbench.capsules.capsule.squash", lambda vectors: 0.25 * vectors)
    assert check_squash(vectors) == pytest.approx(0.25)


def test_squash_and_length_accept_an_empty_batch():
    assert squash(torch.empty(0, 5, 3)).shape == (0, 5, 3)
    assert length(torch.empty(0, 5, 3)).shape == (0, 5)


def test_half_precision_with_overflowing_squares_is_squashed_correctly():
    vectors = torch.tensor([[3e4, 4e4]], dtype=torch.float16)
    torch.testing.assert_close(squash(vectors), torch.tensor([[0.6, 0.8]]), rtol=1e-3, atol=0)


def test_full_precision_widens_half_precision_and_keeps_the_rest():
    @full_precision
    def product(a, *, b):
        return a @ b

    a = torch.ones(2, 2)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert product(a, b=a).dtype == torch.float32
        assert product(a.bfloat16(), b=a.half()).dtype == torch.float32
        assert product(a.double(), b=a.double()).dtype == torch.float64
        assert (a @ a).dtype == torch.bfloat16


@pytest.mark.parametrize("function", [squash, length])
def test_half_precision_vectors_are_squashed_in_float32(function):
    assert function(torch.ones(2, 3, dtype=torch.bfloat16)).dtype == torch.float32
