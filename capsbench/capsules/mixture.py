"""Mixtures of Gaussians with diagonal covariances, fitted by EM (article, eq. 12-19).

A diagonal Gaussian sees its points by x and x² alone: the moments of an M-step are products of both
with the points' weights, and the log-densities of an E-step products with the Gaussians' natural
parameters, so that differences between points and means need not be stored. EM routing takes the
same steps with votes for points. `fit` stores the differences, which serve as the points of each
Gaussian: clusters may lie as far apart as they like.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from capsbench.capsules.precision import full_precision


class Points(NamedTuple):
    """What Gaussians see of points, which should lie around zero.

    Attributes:
        values: x, (..., N, D).
        squares: x², (..., N, D).
    """

    values: Tensor
    squares: Tensor

    @classmethod
    def at(cls, values: Tensor) -> Points:
        """Points from their values (..., N, D)."""
        return cls(values, values.square())


class Moments(NamedTuple):
    """What `weighted_moments` finds.

    Attributes:
        mass: (..., K), sums of the weights.
        mean: (..., K, D).
        variance: (..., K, D), of the weighted points themselves, without a floor.
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


class Fitted(NamedTuple):
    """What `fit` finds.

    Attributes:
        mixture: The mixture after the last iteration.
        responsibilities: (..., K, N) under that mixture (eq. 18); they sum to one over K.
        log_likelihoods: (..., iterations + 1), of the start and after each iteration (eq. 12).
    """

    mixture: Mixture
    responsibilities: Tensor
    log_likelihoods: Tensor


def weighted_moments(points: Points, weights: Tensor) -> Moments:
    """Masses, means and variances of weighted points (article, eq. 16-17).

    The variance is that of one pass, E[x²] - E[x]², and at least what is left of E[x²] by rounding:
    which is accurate for points that lie around zero.

    Args:
        points: (..., N, D).
        weights: (..., K, N), not negative.

    Returns:
        Mass (..., K), mean and variance (..., K, D); a mean and variance of zero without any mass.
    """
    mass = weights.sum(dim=-1)
    shares = weights / nonzero(mass)[..., None]
    mean, second = shares @ points.values, shares @ points.squares
    variance = (second - mean.square()).maximum(torch.finfo(second.dtype).eps * second)
    return Moments(mass, mean, variance)


def nonzero(mass: Tensor) -> Tensor:
    """Masses to divide by."""
    return mass.clamp_min(smallest_mass(mass.dtype))


def smallest_mass(dtype: torch.dtype) -> float:
    """Below 1e-10 in float32, the fourth root of its smallest number, a mass is none.

    The derivative of a quotient divides by the square, and must leave room for its own factors.
    """
    return float(torch.finfo(dtype).tiny ** 0.25)


def log_density(points: Points, mean: Tensor, variance: Tensor) -> Tensor:
    """Log-densities of points under diagonal Gaussians (article, eq. 23).

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
    """Responsibilities and log-likelihood of each point (article, eq. 12, 14, 18).

    Args:
        values: (..., N, D).
        mixture: With Gaussians for them; a proportion may be zero.

    Returns:
        Responsibilities (..., K, N), and log p(x) (..., N).
    """
    proportions, means, variances = mixture
    densities = log_density(
        _around(values, means), torch.zeros_like(means)[..., None, :], variances[..., None, :]
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
    """The mixture that explains the points best, given who is responsible (article, eq. 16-19).

    Args:
        values: (..., N, D).
        responsibilities: (..., K, N).
        weights: (..., N), how often each point counts.
        previous: A component without mass keeps its Gaussian, and gets a proportion of zero; if no
            point counts, all stays as it is.
        variance_floor: Added to each variance.
    """
    assigned = (responsibilities * weights[..., None, :])[..., None, :]
    mean = previous.means
    for _ in range(2):  # first the means, then around them the variances
        moments = weighted_moments(_around(values, mean), assigned)
        mean = mean + moments.mean.squeeze(-2)
    mass, variance = moments.mass.squeeze(-1), moments.variance.squeeze(-2)
    total = weights.sum(dim=-1, keepdim=True)
    # The fill also stops the gradient, which is without value at the logarithm of zero.
    proportions = mass.masked_fill(_is_none(mass), 0) / nonzero(total)
    return Mixture(
        torch.where(_is_none(total), previous.proportions, proportions),
        mean,
        torch.where(_is_none(mass)[..., None], previous.variances, variance + variance_floor),
    )


def _around(values: Tensor, means: Tensor) -> Points:
    """Points (..., N, D) as each of the means (..., K, D) sees them: (..., K, N, D)."""
    return Points.at(values[..., None, :, :] - means[..., None, :])


def _is_none(mass: Tensor) -> Tensor:
    """Whether a mass is too small to divide by, see `nonzero`."""
    return mass < nonzero(mass)


@full_precision
def fit(
    values: Tensor,
    start: Mixture,
    *,
    iterations: int,
    weights: Tensor | None = None,
    variance_floor: float = 0.0,
) -> Fitted:
    """Fit a mixture by EM; each leading index has points and a mixture of its own.

    Without a floor no iteration lowers the log-likelihood; it has no upper bound then, and a
    component that is left with a single point has a variance of zero and a density without value.
    One that is left with no point stays where it is, with a proportion of zero. The gradient flows
    through all iterations.

    Args:
        values: (..., N, D).
        start: The mixture to start from.
        iterations: How many E- and M-steps.
        weights: (..., N), how often each point counts: once if not given.
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
    return Fitted(mixture, responsibilities, torch.stack(log_likelihoods, dim=-1))
