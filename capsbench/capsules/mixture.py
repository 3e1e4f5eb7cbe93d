"""Mixtures of Gaussians with diagonal covariances, fitted by EM (article, eq. 12-19).

A diagonal Gaussian depends on its points only through x and x². The moments of an M-step are
products of both with the points' weights, and the log-densities of an E-step are products with the
Gaussians' natural parameters, so differences between points and means need not be stored. EM
routing does the same with votes for points. `fit` does store the differences, as points of each
Gaussian, so that clusters can be any distance apart.

EM routing has a small prior, so that every parent has mass and a gradient. `fit` has none: with it,
the likelihood could fall and a component without points would move. So it treats masses below
`smallest_mass` as zero.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.capsules.precision import full_precision


class Points(NamedTuple):
    """Sufficient statistics of points, which should be around zero.

    Attributes:
        values: x, (..., N, D).
        squares: x², (..., N, D).
    """

    values: Tensor
    squares: Tensor

    @classmethod
    def at(cls, values: Tensor) -> Points:
        """Create points from their values (..., N, D)."""
        return cls(values, values.square())


class MixtureMoments(NamedTuple):
    """Result of `weighted_moments`.

    Attributes:
        mass: (..., K), sums of the weights.
        mean: (..., K, D).
        variance: (..., K, D), of the weighted points, without a floor.
    """

    mass: Tensor
    mean: Tensor
    variance: Tensor


class Mixture(NamedTuple):
    """A mixture of K Gaussians with diagonal covariances.

    Attributes:
        proportions: π, (..., K), summing to one.
        means: μ, (..., K, D).
        variances: σ², (..., K, D).
    """

    proportions: Tensor
    means: Tensor
    variances: Tensor


class MixtureFit(NamedTuple):
    """Result of `fit`.

    Attributes:
        mixture: The mixture after the last iteration.
        responsibilities: (..., K, N) under that mixture (eq. 18); they sum to one over K.
        log_likelihoods: (..., iterations + 1), at the start and after each iteration (eq. 12).
    """

    mixture: Mixture
    responsibilities: Tensor
    log_likelihoods: Tensor


def weighted_moments(points: Points, weights: Tensor) -> MixtureMoments:
    """Compute masses, means and variances of weighted points (article, eq. 16-17).

    The variance is the one-pass E[x²] - E[x]², and at least the rounding error of E[x²]. It is
    accurate for points around zero.

    Args:
        points: (..., N, D).
        weights: (..., K, N), not negative.

    Returns:
        Mass (..., K), mean and variance (..., K, D); without any mass a mean and variance of zero.
    """
    mass = weights.sum(dim=-1)
    shares = weights / nonzero(mass)[..., None]
    mean, second = shares @ points.values, shares @ points.squares
    return MixtureMoments(mass, mean, one_pass_variance(mean, second))


def one_pass_variance(mean: Tensor, square: Tensor) -> Tensor:
    """Return E[x²] - E[x]², at least the rounding error of E[x²].

    The gradient is that of the difference also where the rounding error is larger: a variance of
    zero has a derivative with respect to the weight of a point elsewhere.
    """
    variance = square - mean.square()
    rounding = torch.finfo(square.dtype).eps * square
    return variance + (rounding - variance).clamp_min(0).detach()


def nonzero(mass: Tensor) -> Tensor:
    """Clamp masses so that they can be divisors."""
    return mass.clamp_min(smallest_mass(mass.dtype))


def smallest_mass(dtype: torch.dtype) -> float:
    """Return the smallest mass that is treated as nonzero: 1e-10 in float32.

    It is the fourth root of the smallest number. The derivative of a quotient divides by the square
    of the mass, and must leave range for other factors.
    """
    return float(torch.finfo(dtype).tiny ** 0.25)


def log_density(points: Points, mean: Tensor, variance: Tensor) -> Tensor:
    """Compute log-densities of points under diagonal Gaussians (article, eq. 23).

    Args:
        points: (..., N, D).
        mean: (..., K, D).
        variance: (..., K, D), positive.

    Returns:
        (..., K, N).
    """
    precision = 1 / variance
    linear = (mean * precision) @ points.values.mT
    quadratic = (0.5 * precision) @ points.squares.mT
    normalizer = 0.5 * (mean.square() * precision + (2 * math.pi * variance).log()).sum(dim=-1)
    return linear - quadratic - normalizer[..., None]


def e_step(values: Tensor, mixture: Mixture) -> tuple[Tensor, Tensor]:
    """Compute responsibilities and log-likelihood of each point (article, eq. 12, 14, 18).

    Args:
        values: (..., N, D).
        mixture: K Gaussians in D dimensions; a proportion may be zero.

    Returns:
        Responsibilities (..., K, N), and log p(x) (..., N).
    """
    proportions, means, variances = mixture
    densities = log_density(
        _centred(values, means), torch.zeros_like(means)[..., None, :], variances[..., None, :]
    )
    log_joint = proportions.log()[..., None] + densities.squeeze(-2)
    log_likelihood = log_joint.logsumexp(dim=-2)
    return (log_joint - log_likelihood[..., None, :]).exp(), log_likelihood


def m_step(
    values: Tensor,
    responsibilities: Tensor,
    weights: Tensor,
    *,
    previous: Mixture,
    variance_floor: float,
) -> Mixture:
    """Return the mixture of highest likelihood for given responsibilities (article, eq. 16-19).

    Args:
        values: (..., N, D).
        responsibilities: (..., K, N).
        weights: (..., N), multiplicity of each point.
        previous: A component without mass keeps its Gaussian and gets a proportion of zero; if all
            weights are zero, the mixture is unchanged.
        variance_floor: Added to each variance.
    """
    assigned = (responsibilities * weights[..., None, :])[..., None, :]
    mean = previous.means
    for _ in range(2):  # first the means, then the variances around them
        moments = weighted_moments(_centred(values, mean), assigned)
        mean = mean + moments.mean.squeeze(-2)
    mass, variance = moments.mass.squeeze(-1), moments.variance.squeeze(-2)
    total = weights.sum(dim=-1, keepdim=True)
    # The fill also stops the gradient, which is undefined at the logarithm of zero.
    proportions = mass.masked_fill(_is_zero(mass), 0) / nonzero(total)
    return Mixture(
        torch.where(_is_zero(total), previous.proportions, proportions),
        mean,
        torch.where(_is_zero(mass)[..., None], previous.variances, variance + variance_floor),
    )


def _centred(values: Tensor, means: Tensor) -> Points:
    """Return points (..., N, D) relative to each of the means (..., K, D): (..., K, N, D)."""
    return Points.at(values[..., None, :, :] - means[..., None, :])


def _is_zero(mass: Tensor) -> Tensor:
    """Return a mask of the masses that are too small to divide by, see `nonzero`."""
    return mass < nonzero(mass)


@full_precision
def fit(
    values: Tensor,
    start: Mixture,
    *,
    iterations: int,
    weights: Tensor | None = None,
    variance_floor: float = 0.0,
) -> MixtureFit:
    """Fit a mixture by EM; each leading index has its own points and mixture.

    Without a floor no iteration lowers the log-likelihood. But it is then unbounded: a component
    with a single point has a variance of zero and an undefined density. A component without points
    keeps its Gaussian, with a proportion of zero. The gradient flows through all iterations.

    Args:
        values: (..., N, D).
        start: The initial mixture.
        iterations: Number of E- and M-steps.
        weights: (..., N), multiplicity of each point; one by default.
        variance_floor: Added to each variance.
    """
    weights = torch.ones_like(values[..., 0]) if weights is None else weights
    mixture = start
    log_likelihoods = []
    for _ in range(iterations):
        responsibilities, log_likelihood = e_step(values, mixture)
        log_likelihoods.append((weights * log_likelihood).sum(dim=-1))
        mixture = m_step(
            values, responsibilities, weights, previous=mixture, variance_floor=variance_floor
        )
    responsibilities, log_likelihood = e_step(values, mixture)
    log_likelihoods.append((weights * log_likelihood).sum(dim=-1))
    return MixtureFit(mixture, responsibilities, torch.stack(log_likelihoods, dim=-1))
