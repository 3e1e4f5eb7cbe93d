"""Mixtures of Gaussians with diagonal covariances, fitted by EM (article, eq. 12-19).

A diagonal Gaussian sees its points by x and x² alone: the moments of an M-step are products of both
with the points' weights, and the log-densities of an E-step products with the Gaussians' natural
parameters, so that differences between points and means are never stored. EM routing is built of
the same steps.
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
    """Masses, means and variances of weighted points (article, eq. 16-17; 22 with votes).

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
    """Masses to divide by: below 1e-10 in float32, the fourth root of its smallest number, is none.

    The derivative of a quotient divides by the square, and must leave room for its own factors.
    """
    return mass.clamp_min(torch.finfo(mass.dtype).tiny ** 0.25)


def log_density(points: Points, mean: Tensor, variance: Tensor) -> Tensor:
    """Log-densities of points under diagonal Gaussians (article, eq. 23; 28 with votes).

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


def e_step(points: Points, mixture: Mixture) -> tuple[Tensor, Tensor]:
    """Responsibilities and log-likelihood of each point (article, eq. 12, 14, 18).

    Args:
        points: (..., N, D).
        mixture: In the same coordinates.

    Returns:
        Responsibilities (..., K, N), and log p(x) (..., N).
    """
    log_joint = mixture.proportions.log()[..., None] + log_density(points, *mixture[1:])
    log_likelihood = log_joint.logsumexp(dim=-2)
    return (log_joint - log_likelihood[..., None, :]).exp(), log_likelihood


def m_step(
    points: Points, responsibilities: Tensor, weights: Tensor, *, variance_floor: float
) -> Mixture:
    """The mixture that explains the points best, given who is responsible (article, eq. 16-19).

    Args:
        points: (..., N, D).
        responsibilities: (..., K, N).
        weights: (..., N), how often each point counts.
        variance_floor: Added to each variance.
    """
    mass, mean, variance = weighted_moments(points, responsibilities * weights[..., None, :])
    proportions = mass / weights.sum(dim=-1, keepdim=True)
    return Mixture(proportions, mean, variance + variance_floor)


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
    The gradient flows through all iterations.

    Args:
        values: (..., N, D).
        start: The mixture to start from.
        iterations: How many E- and M-steps.
        weights: (..., N), how often each point counts: once if not given.
        variance_floor: Added to each variance.
    """
    weights = torch.ones_like(values[..., 0]) if weights is None else weights
    share = (weights / weights.sum(dim=-1, keepdim=True))[..., None, :]
    # A one-pass variance wants points around zero; the fit itself does not mind the shift.
    centre = (share @ values).detach()
    points = Points.at(values - centre)
    mixture = start._replace(means=start.means - centre)
    log_likelihoods = []
    for _ in range(iterations):
        responsibilities, log_likelihood = e_step(points, mixture)
        log_likelihoods.append((weights * log_likelihood).sum(dim=-1))
        mixture = m_step(points, responsibilities, weights, variance_floor=variance_floor)
    responsibilities, log_likelihood = e_step(points, mixture)
    log_likelihoods.append((weights * log_likelihood).sum(dim=-1))
    return Fitted(
        mixture._replace(means=mixture.means + centre),
        responsibilities,
        torch.stack(log_likelihoods, dim=-1),
    )
