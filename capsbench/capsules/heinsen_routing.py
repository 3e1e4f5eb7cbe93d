"""Heinsen routing: a parent gains by the children that it uses, and loses by those that it ignores.

Heinsen, 'An Algorithm for Routing Capsules in All Domains' (arXiv 1911.00792, 2019), algorithm 1.
"""

from __future__ import annotations

from torch import Tensor
from torch.nn import functional as F

from capsbench.capsules.backend_names import Backend
from capsbench.capsules.mixture_windows import GaussianRoutingResult, MixtureWindows
from capsbench.capsules.precision import full_precision
from capsbench.errors import UserError

EPSILON = 1e-5  # of the sum of used data, and of variances, as in the author's code


@full_precision
def heinsen_routing(
    poses: Tensor,
    presences: Tensor,
    weights: Tensor,
    *,
    beta_use: Tensor,
    beta_ignore: Tensor,
    iterations: int,
    stride: int = 1,
    offsets: Tensor | None = None,
    backend: Backend = "auto",
) -> GaussianRoutingResult:
    """Route capsules to parents with a window of the map each (algorithm 1).

    The D-step divides the data of a child, its presence, into what a parent uses and what it
    ignores. The score of a parent is the sum of net benefits of the one minus net costs of the
    other. Means and variances are those of the used votes. The gradient flows through all
    iterations.

    Args:
        poses: (B, H, W, C, R, D) of the children: matrices of 4 x 4, or rows.
        presences: (B, H, W, C) of the children, the sigmoids of their scores.
        weights: (KH, KW, C, P, D, D), the transformation of each pair of child and parent type.
        beta_use: (KH, KW, C, P), net benefit of a unit of used data.
        beta_ignore: (KH, KW, C, P), net cost of a unit of ignored data.
        iterations: Number of M-steps, at least 1.
        stride: Step of the window; without padding.
        offsets: Added to the votes: (KH, KW, R, D), or biases (KH, KW, C, P, R, D) of pairs.
        backend: Implementation, see `capsbench.capsules.backends`; biases of pairs need the
            textbook one.

    Returns:
        Means as poses, the scores of the parents as logits, and assignments.

    Raises:
        UserError: ``iterations`` is below 1, no window fits into the map, or the backend cannot run
            here.
    """
    if iterations < 1:
        raise UserError(f"Heinsen routing needs at least one iteration; got {iterations}")
    children = MixtureWindows(
        "Heinsen routing",
        poses,
        presences,
        weights,
        beta_use,
        beta_ignore,
        stride=stride,
        offsets=offsets,
        backend=backend,
    )
    origin = -children.votes.centre
    benefit, cost = beta_use.flatten(0, 2), beta_ignore.flatten(0, 2)  # (I, P)
    assignments = children.uniform(among_positions=False)
    for iteration in range(iterations):
        data = children.presences[..., None]
        used = data * assignments.shares(children.types)  # D-step: (N, I, P)
        logits = (benefit * used - cost * (data - used)).sum(dim=1)
        mass, mean, variance = children.moments(assignments)
        share = (mass / (mass + EPSILON))[..., None, None]
        posterior = share * mean + (1 - share) * origin
        variance = share * (variance + (mean - posterior).square()) + EPSILON
        if iteration + 1 == iterations:
            break
        log_variance = variance.log()
        base = F.logsigmoid(logits) - 0.5 * log_variance.sum(dim=(-2, -1))
        assignments = children.assign(posterior, log_variance, base)
    return GaussianRoutingResult(
        children.on_map(posterior - origin),
        children.on_map(logits),
        children.shares(assignments),
    )
