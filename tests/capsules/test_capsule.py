import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from capsbench.capsules.capsule import length, squash
from capsbench.capsules.precision import full_precision


def test_squash_is_equation_10():
    s = torch.tensor([[3.0, 4.0], [0.0, 0.5]], dtype=torch.float64)
    expected = torch.tensor([[25 / 26 * 0.6, 25 / 26 * 0.8], [0.0, 0.25 / 1.25]]).double()
    torch.testing.assert_close(squash(s), expected, rtol=1e-6, atol=1e-6)


def test_squash_of_zero_has_value_and_gradient_zero():
    s = torch.zeros(2, 3, requires_grad=True)
    squashed = squash(s)
    squashed.sum().backward()
    assert torch.equal(squashed, torch.zeros(2, 3))
    assert s.grad is not None and torch.equal(s.grad, torch.zeros(2, 3))


def test_length_of_zero_has_finite_gradient():
    s = torch.zeros(2, 3, requires_grad=True)
    length(s).sum().backward()
    assert s.grad is not None and torch.equal(s.grad, torch.zeros(2, 3))


@given(st.lists(st.floats(-1e15, 1e15), min_size=1, max_size=5))
def test_squash_stays_within_the_unit_ball_and_keeps_the_direction(values):
    s = torch.tensor(values, requires_grad=True)
    squashed = squash(s)
    squashed.sum().backward()
    assert squashed.norm() <= 1 + 1e-6
    assert (squashed * s >= 0).all()
    assert s.grad is not None and s.grad.isfinite().all()


def test_full_precision_widens_half_precision_and_leaves_the_rest():
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
