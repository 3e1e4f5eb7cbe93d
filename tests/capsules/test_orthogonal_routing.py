"""Orthogonal routing: entmax against an optimiser, and against loops in float64."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import optimize

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.orthogonal_routing import entmax, orthogonal_routing
from capsbench.capsules.routings import OrthogonalCapsules

LOGITS = st.lists(st.floats(-20, 20), min_size=1, max_size=8)


@settings(deadline=None, max_examples=60)
@given(LOGITS)
def test_entmax_sums_to_one_at_the_root_of_its_threshold(numbers):
    """The threshold is found by bisection here, without sorting."""
    half = np.array(numbers) / 2

    def excess(threshold):
        return np.clip(half - threshold, 0, None).__pow__(2).sum() - 1

    root = optimize.brentq(excess, half.max() - 1.01, half.max())
    shares = entmax(torch.tensor(numbers, dtype=torch.float64))
    expected = np.clip(half - root, 0, None) ** 2
    np.testing.assert_allclose(shares.numpy(), expected, atol=1e-6)
    assert float(shares.sum()) == pytest.approx(1, abs=1e-6)


def test_entmax_maximises_its_entropy():
    """It solves max p·z + H(p), H the 1.5-entropy of Tsallis (Peters 2019, eq. 8)."""
    logits = torch.tensor([0.4, -0.3, 0.9, -2.0], dtype=torch.float64)

    def negative(point):
        shares = torch.tensor(point).softmax(dim=0)
        entropy = (shares - shares**1.5).sum() / (1.5 * 0.5)
        return -float((shares * logits).sum() + entropy)

    best = optimize.minimize(negative, np.zeros(4), method="Nelder-Mead", tol=1e-12).x
    torch.testing.assert_close(entmax(logits), torch.tensor(best).softmax(dim=0), rtol=0, atol=1e-4)
    assert float(entmax(logits)[3]) == 0


def test_the_gradient_of_entmax_is_right():
    logits = torch.randn(6, 5, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.autograd.gradcheck(entmax, logits.requires_grad_())


@pytest.mark.parametrize("logits", [[0.0, 0.0, 0.0], [1e4, 0.0, -1e4], [5.0]])
def test_ties_and_extremes_have_a_finite_gradient(logits):
    values = torch.tensor(logits, requires_grad=True)
    shares = entmax(values)
    shares.square().sum().backward()
    assert float(shares.detach().sum()) == pytest.approx(1)
    assert values.grad is not None and values.grad.isfinite().all()


def test_result_is_that_of_loops():
    generator = torch.Generator().manual_seed(0)
    children = torch.randn(2, 5, 4, generator=generator, dtype=torch.float64)
    weights = torch.randn(5, 3, 4, 6, generator=generator, dtype=torch.float64) * 0.4
    result = orthogonal_routing(children, weights)
    for image, poses in enumerate(children):
        votes = [[poses[i] @ weights[i, j] for j in range(3)] for i in range(5)]
        for j in range(3):
            total = torch.zeros(6, dtype=torch.float64)
            for i in range(5):
                logits = [
                    float(sum(votes[i][k] @ votes[n][k] for n in range(5))) / 5 for k in range(3)
                ]
                share = entmax(torch.tensor(logits, dtype=torch.float64))[j]
                assert float(result.couplings[image, i, j]) == pytest.approx(float(share))
                total = total + share * votes[i][j]
            square = float(total @ total)
            expected = square / (1 + square) * total / math.sqrt(square)
            torch.testing.assert_close(result.parents[image, j], expected, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("pose", ["vector", "matrix"])
def test_transformations_stay_orthogonal_while_they_learn(pose):
    torch.manual_seed(0)
    layer = OrthogonalCapsules(in_types=2, out_types=3, kernel=(2, 2), pose=pose)
    poses = torch.randn(2, 3, 3, 2, *((16,) if pose == "vector" else (4, 4)))
    optimizer = torch.optim.SGD(layer.parameters(), lr=0.5)
    before = layer.weights.detach().clone()
    for _ in range(3):
        optimizer.zero_grad()
        layer(Capsules(poses, torch.ones(2, 3, 3, 2))).poses[..., 0].sum().backward()
        optimizer.step()
    after = layer.weights.detach()
    assert (after - before).abs().max() > 1e-3
    eye = torch.eye(after.shape[-1]).expand_as(after)
    torch.testing.assert_close(after @ after.mT, eye, rtol=0, atol=1e-5)


def test_what_is_not_finite_stays_so():
    logits = torch.tensor([[float("nan"), 1.0, 2.0], [float("inf"), 1.0, 2.0], [0.0, 1.0, 2.0]])
    shares = entmax(logits)
    assert not shares[:2].isfinite().all(dim=1).any()
    assert shares[2].sum() == pytest.approx(1)


def test_a_layer_checks_its_transformations():
    layer = OrthogonalCapsules(in_types=2, out_types=3, kernel=(2, 2))
    assert layer.check_transformations() < 1e-5
    torch.nn.utils.parametrize.remove_parametrizations(layer, "transformations")
    layer.transformations.data *= 1.5
    assert layer.check_transformations() > 0.1
