"""Heinsen routing against loops over images, parents and children in float64."""

from itertools import product

import numpy as np
import pytest
import torch

from capsbench.capsules.heinsen_routing import EPSILON, heinsen_routing
from capsbench.errors import UserError
from tests.capsules.em_reference import layer

GENERATOR = torch.Generator().manual_seed(1)


def betas(weights):
    return [torch.randn(weights.shape[:4], generator=GENERATOR, dtype=weights.dtype) for _ in "ui"]


def naive(poses, presences, weights, use, ignore, *, iterations, stride=1, biases=None):
    """Return means and scores of one image's parents, by (row, column, type)."""
    kernel, types = weights.shape[:2], weights.shape[3]
    size = [(side - k) // stride + 1 for side, k in zip(presences.shape[:2], kernel, strict=True)]
    parents = list(product(range(size[0]), range(size[1]), range(types)))
    windows = list(product(range(kernel[0]), range(kernel[1]), range(weights.shape[2])))
    votes, share, place = {}, {}, {}
    for (y, x, p), (ky, kx, c) in product(parents, windows):
        key = (y, x, p), (y * stride + ky, x * stride + kx, c)
        vote = poses[key[1]] @ weights[ky, kx, c, p]
        votes[key] = (vote if biases is None else vote + biases[ky, kx, c, p]).numpy()
        share[key], place[key] = 1 / types, (ky, kx, c, p)
    for iteration in range(iterations):
        means, variances, scores = {}, {}, {}
        for parent in parents:
            own = [key for key in votes if key[0] == parent]
            used = {key: share[key] * float(presences[key[1]]) for key in own}
            ignored = {key: float(presences[key[1]]) - used[key] for key in own}
            benefit = sum(float(use[place[key]]) * used[key] for key in own)
            cost = sum(float(ignore[place[key]]) * ignored[key] for key in own)
            scores[parent] = benefit - cost
            part = {key: used[key] / (sum(used.values()) + EPSILON) for key in own}
            means[parent] = sum(part[key] * votes[key] for key in own)
            squares = (part[key] * (votes[key] - means[parent]) ** 2 for key in own)
            variances[parent] = sum(squares) + EPSILON
        if iteration + 1 == iterations:
            return means, scores
        weight = {}
        for key, vote in votes.items():
            mean, variance = means[key[0]], variances[key[0]]
            log_p = -((vote - mean) ** 2 / (2 * variance)).sum() - np.log(np.sqrt(variance)).sum()
            weight[key] = np.exp(log_p) / (1 + np.exp(-scores[key[0]]))
        for key in votes:
            share[key] = weight[key] / sum(w for k, w in weight.items() if k[1] == key[1])
    raise AssertionError


@pytest.mark.parametrize(("iterations", "stride"), [(1, 1), (3, 1), (2, 2)])
@pytest.mark.parametrize("backend", ["textbook", "eager", "native"])
def test_result_is_that_of_loops(iterations, stride, backend):
    tensors = layer(size=(4, 4) if stride == 2 else (3, 3), scale=0.5)
    use, ignore = betas(tensors.weights)
    arguments = {"iterations": iterations, "stride": stride}
    result = heinsen_routing(
        *tensors[:3], beta_use=use, beta_ignore=ignore, backend=backend, **arguments
    )
    check(result, tensors, use, ignore, arguments)


def test_biases_of_pairs_are_added_to_votes():
    tensors = layer(scale=0.5)
    use, ignore = betas(tensors.weights)
    biases = torch.randn(tensors.weights.shape, generator=GENERATOR, dtype=torch.float64)
    result = heinsen_routing(
        *tensors[:3], beta_use=use, beta_ignore=ignore, iterations=3, offsets=biases
    )
    check(result, tensors, use, ignore, {"iterations": 3, "biases": biases})
    with pytest.raises(UserError, match="offsets of pairs need the routing backend 'textbook'"):
        heinsen_routing(
            *tensors[:3],
            beta_use=use,
            beta_ignore=ignore,
            iterations=3,
            offsets=biases,
            backend="eager",
        )


def check(result, tensors, use, ignore, arguments):
    for image in range(len(tensors.poses)):
        means, scores = naive(
            tensors.poses[image],
            tensors.presences[image],
            tensors.weights,
            use,
            ignore,
            **arguments,
        )
        for parent, mean in means.items():
            np.testing.assert_allclose(
                result.poses[(image, *parent)].numpy(), mean, rtol=1e-8, atol=1e-11
            )
            assert result.logits[(image, *parent)].item() == pytest.approx(scores[parent], rel=1e-8)


def test_gradients_of_all_backends_agree():
    tensors = layer(scale=0.5)
    use, ignore = betas(tensors.weights)
    differentiated = [each.requires_grad_() for each in (*tensors[:3], use, ignore)]
    gradients = []
    for backend in ("textbook", "eager", "native"):
        result = heinsen_routing(
            *differentiated[:3], beta_use=use, beta_ignore=ignore, iterations=3, backend=backend
        )
        total = result.logits.sin().sum() + result.poses.cos().sum()
        gradients.append(torch.autograd.grad(total, differentiated))
    for others in gradients[1:]:
        for one, other in zip(gradients[0], others, strict=True):
            torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-8)


def test_no_iteration_is_refused():
    tensors = layer()
    use, ignore = betas(tensors.weights)
    with pytest.raises(UserError, match="at least one iteration; got 0"):
        heinsen_routing(*tensors[:3], beta_use=use, beta_ignore=ignore, iterations=0)
