"""VB routing against loops over images, parents and children in float64."""

import math
from itertools import product

import numpy as np
import pytest
import torch
from scipy.special import digamma

from capsbench.capsules.vb_routing import VBPrior, vb_routing
from capsbench.errors import UserError
from tests.capsules.em_reference import DOUBLE, layer

DIM = 16
CODE = VBPrior()


def naive(poses, presences, weights, beta_u, beta_a, *, iterations, stride=1, prior=CODE):
    """Return poses and logits of one image's parents, by (row, column, type)."""
    kernel, types = weights.shape[:2], weights.shape[3]
    size = [(side - k) // stride + 1 for side, k in zip(presences.shape[:2], kernel, strict=True)]
    parents = list(product(range(size[0]), range(size[1]), range(types)))
    votes, share = {}, {}
    for y, x, p in parents:
        for ky, kx, c in product(range(kernel[0]), range(kernel[1]), range(weights.shape[2])):
            child = (y * stride + ky, x * stride + kx, c)
            votes[(y, x, p), child] = (poses[child] @ weights[ky, kx, c, p]).reshape(DIM).numpy()
            share[(y, x, p), child] = 1 / types
    for iteration in range(iterations):
        posteriors = {}
        for parent in parents:
            own = {child: v for (other, child), v in votes.items() if other == parent}
            assigned = {c: share[parent, c] * float(presences[c]) for c in own}
            number = sum(assigned.values())
            mean = sum(assigned[c] * own[c] for c in own) / number
            scatter = sum(assigned[c] * (own[c] - mean) ** 2 for c in own)
            kappa, nu = prior.mean_precision + number, prior.extra_degrees + DIM + number
            m = number * mean / kappa
            inverse = prior.scale + scatter + prior.mean_precision * number / kappa * mean**2
            posteriors[parent] = prior.concentration + number, kappa, nu, m, inverse
        expected = {}
        for y, x, p in parents:
            alpha, _, nu, _, inverse = posteriors[y, x, p]
            total = sum(posteriors[y, x, q][0] for q in range(types))
            log_weight = digamma(alpha) - digamma(total)
            halves = [digamma((nu + 1 - d) / 2) for d in range(1, DIM + 1)]
            log_determinant = sum(halves) + DIM * math.log(2) - np.log(inverse).sum()
            expected[y, x, p] = log_weight, log_determinant
        if iteration + 1 == iterations:
            break
        density = {}
        for (parent, child), vote in votes.items():
            _, kappa, nu, m, inverse = posteriors[parent]
            log_weight, log_determinant = expected[parent]
            distance = DIM / kappa + nu * ((vote - m) ** 2 / inverse).sum()
            log_density = 0.5 * (log_determinant - DIM * math.log(2 * math.pi) - distance)
            density[parent, child] = math.exp(log_weight + log_density)
        for parent, child in votes:
            others = sum(d for (_, c), d in density.items() if c == child)
            share[parent, child] = density[parent, child] / others
    logits = {}
    for y, x, p in parents:
        log_weight, log_determinant = expected[y, x, p]
        entropy = 0.5 * (DIM * math.log(2 * math.pi * math.e) - log_determinant)
        logits[y, x, p] = float(beta_a[p]) - (math.exp(log_weight) * entropy + float(beta_u[p]))
    return {parent: posteriors[parent][3] for parent in parents}, logits


@pytest.mark.parametrize(
    ("iterations", "stride", "prior"),
    [
        (1, 1, CODE),
        (3, 1, CODE),
        (2, 2, VBPrior(concentration=0.5, mean_precision=2.0, scale=0.3, extra_degrees=3.0)),
    ],
)
@pytest.mark.parametrize("backend", ["textbook", "eager", "native"])
def test_result_is_that_of_loops(iterations, stride, prior, backend):
    tensors = layer(size=(4, 4) if stride == 2 else (3, 3), scale=0.5)
    result = vb_routing(
        *tensors[:3],
        beta_u=tensors.beta_u,
        beta_a=tensors.beta_a,
        iterations=iterations,
        stride=stride,
        prior=prior,
        backend=backend,
    )
    for image in range(len(tensors.poses)):
        poses, logits = naive(
            tensors.poses[image],
            tensors.presences[image],
            tensors.weights,
            tensors.beta_u,
            tensors.beta_a,
            iterations=iterations,
            stride=stride,
            prior=prior,
        )
        for parent, expected in poses.items():
            own = result.poses[(image, *parent)].flatten().numpy()
            np.testing.assert_allclose(own, expected, rtol=1e-9, atol=1e-12)
            value = result.logits[(image, *parent)].item()
            assert value == pytest.approx(logits[parent], rel=1e-9)


def test_gradients_of_all_backends_agree():
    tensors = layer(scale=0.5).map(lambda each: each.requires_grad_())
    gradients = []
    for backend in ("textbook", "eager", "native"):
        result = vb_routing(
            *tensors[:3],
            beta_u=tensors.beta_u,
            beta_a=tensors.beta_a,
            iterations=3,
            backend=backend,
        )
        total = result.logits.sin().sum() + result.poses.cos().sum()
        gradients.append(torch.autograd.grad(total, list(tensors)))
    for others in gradients[1:]:
        for one, other in zip(gradients[0], others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_a_parent_of_few_children_is_uncertain():
    """Without a present child the posterior is the prior: no pose, and the entropy of the prior."""
    tensors = layer(kernel=(3, 3))
    absent = torch.zeros_like(tensors.presences)
    result = vb_routing(
        tensors.poses,
        absent,
        tensors.weights,
        beta_u=tensors.beta_u,
        beta_a=tensors.beta_a,
        iterations=2,
    )
    assert result.poses.abs().max() < 1e-6
    assert torch.isfinite(result.logits).all()


def test_bad_arguments_are_one_sentence():
    tensors = layer()
    with pytest.raises(UserError, match="VB routing needs at least one iteration; got 0"):
        vb_routing(*tensors[:3], beta_u=tensors[3], beta_a=tensors[4], iterations=0)
    large = torch.zeros(4, 4, 2, 3, 4, 4, dtype=DOUBLE)
    with pytest.raises(UserError, match="VB routing needs a map of at least 4 x 4"):
        vb_routing(
            tensors[0], tensors[1], large, beta_u=tensors[3], beta_a=tensors[4], iterations=1
        )
