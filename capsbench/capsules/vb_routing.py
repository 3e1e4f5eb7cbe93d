"""Variational Bayes routing: each parent is a Gaussian whose parameters have priors.

De Sousa Ribeiro, Leontidis, Kollias, 'Capsule Routing via Variational Bayes' (AAAI 2020). The
E-step uses expectations under the posteriors, so that a parent of few children is uncertain rather
than narrow, and no floor of the variance is needed.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.mixture_windows import GaussianRoutingResult, MixtureWindows
from capsbench.capsules.precision import full_precision
from capsbench.errors import UserError


@dataclass(frozen=True, kw_only=True)
class VBPrior:
    """Parameters of the priors; the values are those of the authors' code.

    Attributes:
        concentration: α₀ of the Dirichlet distribution of the parents' weights.
        mean_precision: κ₀, the precision of a mean, in units of the parent's own precision; prior
            means are 0.
        scale: Ψ₀⁻¹, diagonal of the inverse scale of the Wishart distribution of the precision.
        extra_degrees: Degrees of freedom ν₀ of that distribution beyond the D elements of a pose.
    """

    concentration: float = 1.0
    mean_precision: float = 1.0
    scale: float = 1.0
    extra_degrees: float = 1.0


@full_precision
def vb_routing(
    poses: Tensor,
    presences: Tensor,
    weights: Tensor,
    *,
    beta_u: Tensor,
    beta_a: Tensor,
    iterations: int,
    stride: int = 1,
    offsets: Tensor | None = None,
    prior: VBPrior = VBPrior(),
    backend: Backend = "auto",
) -> GaussianRoutingResult:
    """Route capsules to parents with a window of the map each, by variational Bayes.

    Precisions are diagonal. The number of children of a parent, R_j, updates all posteriors (the
    M-step, after Bishop 2006, eq. 10.58 to 10.63), and a child is assigned by the expected
    log-densities (Bishop 2006, eq. 10.46 and 10.64 to 10.66). The presence is that of the authors'
    code: the less entropy the Gaussian has, the more likely is the parent. That code raises sums
    of densities to 1e-11, which assigns a child that is far from all parents to none of them; here
    assignments are exact. The gradient flows through all iterations.

    Args:
        poses: (B, H, W, C, R, D) of the children: matrices of 4 x 4, or rows.
        presences: (B, H, W, C) of the children.
        weights: (KH, KW, C, P, D, D), the transformation of each pair of child and parent type.
        beta_u: (P,), added to the weighted entropy.
        beta_a: (P,), entropy above which the presence of a parent is below 1/2.
        iterations: Number of M-steps, at least 1.
        stride: Step of the window; without padding.
        offsets: (KH, KW, R, D), added to the votes from each position of the window.
        prior: Parameters of the priors.
        backend: Implementation, see `capsbench.capsules.backends`.

    Returns:
        Posterior means m as poses, logits of the presences, and assignments.

    Raises:
        UserError: ``iterations`` is below 1, no window fits into the map, or the backend cannot run
            here.
    """
    if iterations < 1:
        raise UserError(f"VB routing needs at least one iteration; got {iterations}")
    children = MixtureWindows(
        "VB routing",
        poses,
        presences,
        weights,
        beta_u,
        beta_a,
        stride=stride,
        offsets=offsets,
        backend=backend,
    )
    centre = children.votes.centre
    dim = centre.shape[-2] * centre.shape[-1]
    assignments = children.uniform(among_positions=False)
    for iteration in range(iterations):
        mass, offset, variance = children.moments(assignments)
        mean = offset + centre  # of the votes
        number = mass[..., None, None]
        precision = prior.mean_precision + number  # κ_j
        posterior = number / precision * mean  # m_j
        scale = prior.scale + number * variance
        scale = scale + prior.mean_precision * number / precision * mean.square()  # Ψ_j⁻¹
        degrees = prior.extra_degrees + dim + mass  # ν_j
        log_weight = _expected_log_weight(prior.concentration + mass)
        log_determinant = _expected_log_determinant(degrees, scale.flatten(2), dim)
        if iteration + 1 == iterations:
            break
        spread = dim / precision.flatten(1)
        base = log_weight + 0.5 * (log_determinant - dim * math.log(2 * math.pi) - spread)
        log_variance = scale.log() - degrees.log()[..., None, None]
        assignments = children.assign(posterior - centre, log_variance, base)
    entropy = 0.5 * (dim * (1 + math.log(2 * math.pi)) - log_determinant)
    logits = beta_a - (log_weight.exp() * entropy + beta_u)
    return GaussianRoutingResult(
        children.on_map(posterior), children.on_map(logits), children.shares(assignments)
    )


def _expected_log_weight(concentration: Tensor) -> Tensor:
    """Return E[ln π_j] under a Dirichlet distribution (N, P) over the types of a position."""
    return concentration.digamma() - concentration.sum(dim=-1, keepdim=True).digamma()


def _expected_log_determinant(degrees: Tensor, scale: Tensor, dim: int) -> Tensor:
    """Return E[ln |Λ_j|] under a Wishart distribution (Bishop 2006, eq. B.81).

    Args:
        degrees: (N, P), degrees of freedom.
        scale: (N, P, D), diagonal of the inverse scale matrix.
        dim: D.
    """
    halves = 0.5 * (degrees[..., None] - torch.arange(dim, device=degrees.device))
    return halves.digamma().sum(dim=-1) + dim * math.log(2) - scale.log().sum(dim=-1)
