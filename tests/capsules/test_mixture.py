"""The mixture of Gaussians against scikit-learn and a naive loop; monotonicity of EM."""

import math
import warnings

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture
from torch.distributions import Normal

from capsbench.capsules.mixture import (
    Mixture,
    Points,
    e_step,
    fit,
    log_density,
    m_step,
    weighted_moments,
)

DOUBLE = torch.float64


def problem(*batch, points=30, components=3, dim=2, seed=0, shift=0.0):
    """Return points in soft clusters around ``shift``, and a perturbed initial mixture."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*shape):
        return torch.randn(*batch, *shape, generator=generator, dtype=DOUBLE)

    proportions = normal(components).softmax(dim=-1)
    nearest = torch.arange(points) % components
    centres = shift + 2 * normal(components, dim)
    values = centres[..., nearest, :] + normal(points, dim)
    variances = (0.3 * normal(components, dim)).exp()
    return values, Mixture(proportions, centres + 0.5 * normal(components, dim), variances)


def one(mixture, index):
    return Mixture(*(part[index] for part in mixture))


def naive(values, mixture, *, iterations, weights, variance_floor):
    """Fit in loops over points and components; return the log-likelihoods from start to end."""
    proportions, means, variances = (list(part) for part in mixture)
    log_likelihoods = []
    for iteration in range(iterations + 1):
        total, responsibilities = torch.zeros((), dtype=DOUBLE), []
        for x, weight in zip(values, weights, strict=True):
            joint = [
                p * Normal(m, v.sqrt()).log_prob(x).sum().exp()
                for p, m, v in zip(proportions, means, variances, strict=True)
            ]
            total = total + weight * sum(joint).log()  # eq. 12
            responsibilities.append([j / sum(joint) for j in joint])  # eq. 14, 18
        log_likelihoods.append(total)
        if iteration == iterations:
            break
        for k in range(len(proportions)):
            r = [w * row[k] for w, row in zip(weights, responsibilities, strict=True)]
            proportions[k] = sum(r) / sum(weights)  # eq. 17
            means[k] = sum(a * x for a, x in zip(r, values, strict=True)) / sum(r)  # eq. 16
            squares = sum(a * (x - means[k]) ** 2 for a, x in zip(r, values, strict=True))
            variances[k] = squares / sum(r) + variance_floor
    return (
        Mixture(torch.stack(proportions), torch.stack(means), torch.stack(variances)),
        torch.stack([torch.stack(row) for row in responsibilities]).T,
        torch.stack(log_likelihoods),
    )


@pytest.mark.parametrize("floor", [0.0, 0.1])
def test_values_and_gradients_match_the_equations(floor):
    values, start = problem(points=12, components=3)
    weights = torch.linspace(0.5, 2, 12, dtype=DOUBLE)
    inputs = [x.requires_grad_() for x in (values, weights, *start)]
    arguments = {"iterations": 3, "weights": weights, "variance_floor": floor}
    outputs = []
    for fitted in (fit(values, start, **arguments), naive(values, start, **arguments)):
        mixture, *rest = fitted
        outputs.append([*mixture, *rest])
    for result, expected in zip(*outputs, strict=True):
        torch.testing.assert_close(result, expected)
    gradients = []
    for output in outputs:
        loss = sum((x.sin() * torch.arange(x.numel()).view_as(x)).sum() for x in output)
        gradients.append(torch.autograd.grad(loss, inputs))
    for result, expected in zip(*gradients, strict=True):
        assert expected.abs().max() > 0.1
        torch.testing.assert_close(result, expected, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("iterations", [1, 2, 7])
def test_agrees_with_scikit_learn(iterations):
    values, start = problem(points=60, components=3, dim=4, shift=5.0)
    reference = GaussianMixture(
        3,
        covariance_type="diag",
        reg_covar=0,
        tol=0,
        max_iter=iterations,
        weights_init=start.proportions.numpy(),
        means_init=start.means.numpy(),
        precisions_init=(1 / start.variances).numpy(),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # it is stopped early on purpose
        reference.fit(values.numpy())
    mixture, responsibilities, log_likelihoods = fit(values, start, iterations=iterations)
    np.testing.assert_allclose(mixture.proportions, reference.weights_, rtol=1e-7)
    np.testing.assert_allclose(mixture.means, reference.means_, rtol=1e-7)
    np.testing.assert_allclose(mixture.variances, reference.covariances_, rtol=1e-6)
    probabilities = reference.predict_proba(values.numpy())
    np.testing.assert_allclose(responsibilities.T, probabilities, rtol=1e-6, atol=1e-12)
    assert log_likelihoods[-1] / 60 == pytest.approx(reference.score(values.numpy()))


@given(
    points=st.integers(4, 25),
    components=st.integers(1, 4),
    dim=st.integers(1, 4),
    shift=st.sampled_from([0.0, 100.0]),
    weighted=st.booleans(),
    seed=st.integers(0, 999),
)
@settings(max_examples=40, deadline=None)
def test_log_likelihood_never_falls(points, components, dim, shift, weighted, seed):
    values, start = problem(points=points, components=components, dim=dim, shift=shift, seed=seed)
    weights = torch.rand(points, dtype=DOUBLE) + 0.1 if weighted else None
    mixture, _, result = fit(values, start, iterations=8, weights=weights)
    rises = result.diff()
    # The density of a component at a single point is unbounded, and so is its rounding.
    assume((mixture.variances > 1e-8).all() and result.isfinite().all())
    assert (rises >= -1e-9 * result.abs().max()).all()


def test_log_likelihood_may_fall_with_a_floor():
    """Shows that the test above can fail."""
    values, start = problem()
    assert fit(values, start, iterations=8, variance_floor=2.0).log_likelihoods.diff().min() < -0.1


def test_weight_two_equals_a_duplicated_point():
    values, start = problem(points=10)
    twice = fit(torch.cat([values, values[:4]]), start, iterations=3)
    weights = torch.tensor([2.0] * 4 + [1.0] * 6, dtype=DOUBLE)
    weighted = fit(values, start, iterations=3, weights=weights)
    for result, expected in zip(weighted.mixture, twice.mixture, strict=True):
        torch.testing.assert_close(result, expected)
    torch.testing.assert_close(weighted.log_likelihoods, twice.log_likelihoods)
    unweighted = fit(values, start, iterations=3)
    assert (unweighted.mixture.means - twice.mixture.means).abs().max() > 0.01


def test_points_of_zero_weight_are_ignored():
    values, start = problem(points=10)
    weights = torch.ones(10, dtype=DOUBLE)
    weights[7:] = 0
    result = fit(values, start, iterations=3, weights=weights)
    for part, expected in zip(
        result.mixture, fit(values[:7], start, iterations=3).mixture, strict=True
    ):
        torch.testing.assert_close(part, expected)


def test_batch_equals_separate_fits():
    values, start = problem(2, 3)
    together = fit(values, start, iterations=4)
    for index in np.ndindex(2, 3):
        alone = fit(values[index], one(start, index), iterations=4)
        for result, expected in zip(one(together.mixture, index), alone.mixture, strict=True):
            torch.testing.assert_close(result, expected)
        torch.testing.assert_close(together.log_likelihoods[index], alone.log_likelihoods)
        torch.testing.assert_close(together.responsibilities[index], alone.responsibilities)


def test_single_precision_is_accurate_far_from_zero():
    values, start = problem(shift=1000.0)
    single = Mixture(*(part.float() for part in start))
    result = fit(values.float(), single, iterations=5).mixture
    expected = fit(values, start, iterations=5).mixture
    torch.testing.assert_close(result.variances.double(), expected.variances, rtol=1e-2, atol=1e-2)


@pytest.mark.parametrize("off", [0.1, 30.0])
def test_single_precision_is_accurate_for_small_clusters_far_apart(off):
    generator = torch.Generator().manual_seed(0)
    centres = torch.tensor([[-1000.0, 0], [1000, 0], [0, 1000]], dtype=DOUBLE)
    values = centres.repeat(20, 1) + 0.05 * torch.randn(60, 2, generator=generator, dtype=DOUBLE)
    values = values.float()
    start = Mixture(torch.full((3,), 1 / 3), centres.float() + off, torch.ones(3, 2))
    result = fit(values, start, iterations=2)
    expected = fit(values.double(), Mixture(*(part.double() for part in start)), iterations=2)
    assert (expected.mixture.variances < 0.005).all()
    for one, other in zip(result.mixture, expected.mixture, strict=True):
        torch.testing.assert_close(one.double(), other, rtol=1e-4, atol=0)
    torch.testing.assert_close(
        result.log_likelihoods.double(), expected.log_likelihoods, rtol=1e-5, atol=1e-3
    )


@pytest.mark.parametrize("floor", [0.0, 1e-3])
@pytest.mark.parametrize("dtype", [torch.float32, DOUBLE])
def test_component_without_mass_is_unchanged(floor, dtype):
    values, _ = problem()
    values = values.to(dtype)
    means, variances = torch.tensor([[0.0, 0], [1000, 1000]]), torch.tensor([[1.0, 2], [3, 4]])
    start = Mixture(*(x.to(dtype) for x in (torch.tensor([0.5, 0.5]), means, variances)))
    inputs = [x.requires_grad_() for x in (values, *start)]
    result = fit(values, start, iterations=3, variance_floor=floor)
    alone = fit(values, Mixture(*(x[:1] for x in start)), iterations=3, variance_floor=floor)
    assert result.mixture.proportions.tolist() == [1, 0]
    for part, only, before in zip(result.mixture[1:], alone.mixture[1:], start[1:], strict=True):
        torch.testing.assert_close(part[:1], only)
        assert torch.equal(part[1], before[1])
    assert result.log_likelihoods.isfinite().all()
    total = torch.cat([x.flatten() for x in (*result.mixture, *result[1:])]).sum()
    assert all(x.isfinite().all() for x in torch.autograd.grad(total, inputs))


@pytest.mark.parametrize("points", [0, 10])
def test_without_weighted_points_the_mixture_is_unchanged(points):
    values, start = problem(points=10)
    weights = torch.zeros(points, dtype=DOUBLE, requires_grad=True)
    result = fit(values[:points], start, iterations=2, weights=weights)
    assert all(map(torch.equal, result.mixture, start))
    assert not result.log_likelihoods.any()
    (gradient,) = torch.autograd.grad(result.log_likelihoods.sum(), weights)
    assert gradient.isfinite().all()


def test_autocast_does_not_apply_to_the_fit():
    values, start = problem()
    single, begin = values.float(), Mixture(*(part.float() for part in start))
    expected = fit(single, begin, iterations=3)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        result = fit(single, begin, iterations=3)
    assert torch.equal(result.log_likelihoods, expected.log_likelihoods)


def test_log_density_equals_independent_normals():
    values, (_, means, variances) = problem()
    expected = Normal(means[:, None], variances.sqrt()[:, None]).log_prob(values).sum(dim=-1)
    torch.testing.assert_close(log_density(Points.at(values), means, variances), expected)


def test_moments_without_mass_are_zero_and_their_gradient_is_finite():
    values, _ = problem()
    weights = torch.zeros(2, 30, dtype=DOUBLE, requires_grad=True)
    moments = weighted_moments(Points.at(values), weights)
    assert not any(part.any() for part in moments)
    (gradient,) = torch.autograd.grad(moments.mean.sum() + moments.variance.sum(), weights)
    assert gradient.isfinite().all()


def test_steps_by_hand():
    points = torch.tensor([[-1.0], [1.0], [3.0]])
    start = Mixture(torch.tensor([0.5, 0.5]), torch.tensor([[0.0], [2.0]]), torch.ones(2, 1))
    responsibilities, log_likelihood = e_step(points, start)
    # p(z = 0 | x) = 1 / (1 + exp(2 x - 2))
    expected = torch.tensor([1 / (1 + math.exp(-4)), 0.5, 1 / (1 + math.exp(4))])
    torch.testing.assert_close(responsibilities, torch.stack([expected, 1 - expected]))
    middle = 0.5 * (1 + 1) * math.exp(-0.5) / math.sqrt(2 * math.pi)
    assert log_likelihood[1].item() == pytest.approx(math.log(middle))
    certain = torch.tensor([[1.0, 1, 0], [0, 0, 1]])
    weights = torch.tensor([1.0, 3, 1])
    mixture = m_step(points, certain, weights, previous=start, variance_floor=0.25)
    torch.testing.assert_close(mixture.proportions, torch.tensor([0.8, 0.2]))
    torch.testing.assert_close(mixture.means, torch.tensor([[0.5], [3.0]]))
    torch.testing.assert_close(mixture.variances, torch.tensor([[1.0], [0.25]]))
