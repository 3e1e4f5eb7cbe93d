"""Attention routing against loops over images, parents and children in float64."""

import math

import pytest
import torch
from torch.nn import functional as F

from capsbench.capsules.attention_routing import attention_routing
from capsbench.errors import UserError

BACKENDS = ("textbook", "eager", "native")


def tensors(batch=2, children=5, parents=3, dim=4, parent_dim=6):
    generator = torch.Generator().manual_seed(0)
    shapes = (batch, children, dim), (children, parents, dim, parent_dim)
    return [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]


def normalize(sums):
    return F.layer_norm(sums, sums.shape[-1:])


def naive(poses, weights, iterations):
    """Return the parents of one image, and the couplings."""
    children, parents, _, dim = weights.shape
    votes = [[poses[i] @ weights[i, j] for j in range(parents)] for i in range(children)]
    share = [[1 / parents] * parents for _ in range(children)]
    routed: list[torch.Tensor] = []
    for iteration in range(iterations):
        if iteration:
            for i, own in enumerate(votes):
                scores = [
                    math.exp(float(v @ p) / math.sqrt(dim))
                    for v, p in zip(own, routed, strict=True)
                ]
                share[i] = [score / sum(scores) for score in scores]
        routed = []
        for j in range(parents):
            total = sum(share[i][j] * votes[i][j] for i in range(children))
            centred = total - total.mean()
            routed.append(centred / (centred.square().mean() + 1e-5).sqrt())
    return torch.stack(routed), torch.tensor(share, dtype=torch.float64)


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("iterations", [1, 2, 3])
def test_result_is_that_of_loops(backend, iterations):
    children, weights = tensors()
    result = attention_routing(
        children, weights, normalize=normalize, iterations=iterations, backend=backend
    )
    for image, poses in enumerate(children):
        parents, couplings = naive(poses, weights, iterations)
        torch.testing.assert_close(result.parents[image], parents, rtol=1e-9, atol=1e-11)
        torch.testing.assert_close(result.couplings[image], couplings, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("backend", BACKENDS[1:])
def test_gradients_are_those_of_the_textbook(backend):
    gradients = []
    for each in ("textbook", backend):
        inputs = [tensor.requires_grad_() for tensor in tensors()]
        result = attention_routing(*inputs, normalize=normalize, iterations=3, backend=each)
        total = result.parents.sin().sum() + result.couplings.cos().sum()
        gradients.append(torch.autograd.grad(total, inputs))
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-8, atol=1e-10)


def test_no_iteration_is_refused():
    with pytest.raises(UserError, match="attention routing needs at least one iteration; got 0"):
        attention_routing(*tensors(), normalize=normalize, iterations=0)
