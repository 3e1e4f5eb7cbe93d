"""Self-routing against loops over images, parents and children in float64."""

import math
from itertools import product

import pytest
import torch

from capsbench.capsules.self_routing import self_routing
from capsbench.errors import UserError

DOUBLE = torch.float64


def layer(*, size=(3, 3), kernel=(2, 2), types=(2, 3), dim=5, parent_dim=4, batch=2):
    generator = torch.Generator().manual_seed(0)

    def normal(*shape):
        return torch.randn(shape, generator=generator, dtype=DOUBLE)

    children, parents = types
    return {
        "poses": normal(batch, *size, children, dim),
        "presences": normal(batch, *size, children).sigmoid(),
        "weights": normal(*kernel, children, parents, dim, parent_dim),
        "route_weights": normal(*kernel, children, parents, dim),
        "route_bias": normal(*kernel, children, parents),
    }


def naive(tensors, image, position, stride):
    """Return poses and presences of the parents at a position of an image."""
    poses, presences = tensors["poses"][image], tensors["presences"][image]
    route, bias = tensors["route_weights"], tensors["route_bias"]
    kernel, children, parents = route.shape[:2], route.shape[2], route.shape[3]
    mass = [0.0] * parents
    total = 0.0
    sums = [torch.zeros(tensors["weights"].shape[-1], dtype=DOUBLE) for _ in range(parents)]
    for ky, kx, c in product(range(kernel[0]), range(kernel[1]), range(children)):
        place = position[0] * stride + ky, position[1] * stride + kx, c
        pose, presence = poses[place], float(presences[place])
        scores = [
            math.exp(float(route[ky, kx, c, p] @ pose + bias[ky, kx, c, p])) for p in range(parents)
        ]
        total += presence
        for p, score in enumerate(scores):
            share = score / sum(scores) * presence
            mass[p] += share
            sums[p] += share * (pose @ tensors["weights"][ky, kx, c, p])
    return [s / m for s, m in zip(sums, mass, strict=True)], [m / total for m in mass]


@pytest.mark.parametrize(("size", "stride"), [((3, 3), 1), ((4, 5), 2)])
def test_result_is_that_of_loops(size, stride):
    tensors = layer(size=size)
    result = self_routing(**tensors, stride=stride)
    assert result.poses is not None
    for image, y, x in product(range(2), *map(range, result.presences.shape[1:3])):
        poses, presences = naive(tensors, image, (y, x), stride)
        for p, (pose, presence) in enumerate(zip(poses, presences, strict=True)):
            torch.testing.assert_close(result.poses[image, y, x, p], pose)
            assert result.presences[image, y, x, p].item() == pytest.approx(presence)


def test_shares_sum_to_one():
    result = self_routing(**layer())
    torch.testing.assert_close(result.couplings.sum(dim=3), torch.ones(2, 2, 2, 2, 2, 2).double())
    torch.testing.assert_close(result.presences.sum(dim=3), torch.ones(2, 2, 2).double())


def test_presences_alone_need_no_weights():
    tensors = layer()
    whole = self_routing(**tensors)
    alone = self_routing(**tensors | {"weights": None})
    assert alone.poses is None
    torch.testing.assert_close(alone.presences, whole.presences)


def test_without_a_present_child_all_count_equally():
    tensors = layer()
    none = tensors | {"presences": torch.zeros_like(tensors["presences"], requires_grad=True)}
    equal = tensors | {"presences": torch.ones_like(tensors["presences"])}
    result = self_routing(**none)
    torch.testing.assert_close(result.presences, self_routing(**equal).presences)
    assert result.poses is not None
    (result.poses.sum() + result.presences.square().sum()).backward()
    assert torch.isfinite(none["presences"].grad).all()


def test_gradients():
    tensors = [each.requires_grad_() for each in layer(size=(2, 2)).values()]

    def outputs(poses, presences, weights, route_weights, route_bias):
        result = self_routing(
            poses, presences, weights, route_weights=route_weights, route_bias=route_bias
        )
        return result.poses, result.presences

    assert torch.autograd.gradcheck(outputs, tensors)


def test_a_map_below_the_window_is_refused():
    with pytest.raises(UserError, match="self-routing needs a map of at least 2 x 2"):
        self_routing(**layer() | {"poses": torch.zeros(2, 1, 3, 2, 5, dtype=DOUBLE)})
