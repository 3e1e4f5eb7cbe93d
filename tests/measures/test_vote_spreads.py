"""Votes of the last capsules, whose weighted means are the capsules, and their spreads."""

import pytest
import torch
from torch import nn

from capsbench.capsules.capsule import Capsules, exponential_squash, squash
from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.em_layers import ClassEMCapsules, ConvEMCapsules
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.self_attention_routing import SelfAttentionRouting
from capsbench.measures._routing_agreement import vote_spread
from capsbench.measures._vote_spreads import record_vote_spreads, weighted_votes


@pytest.fixture
def children():
    draws = torch.Generator().manual_seed(0)
    poses = torch.randn(3, 4, 4, 2, 4, 4, generator=draws)
    return Capsules(poses, torch.rand(3, 4, 4, 2, generator=draws))


def mean_vote(votes, weights):
    shares = weights / weights.sum(dim=-2, keepdim=True)
    return (shares[..., None] * votes).sum(dim=-3)


def known_votes(layer, *inputs):
    weighted = weighted_votes(layer, *inputs)
    assert weighted is not None
    return weighted


def test_dynamic_routing():
    torch.manual_seed(0)
    layer = DynamicRouting(num_children=5, child_dim=3, num_parents=4, parent_dim=2)
    children = torch.randn(6, 5, 3)
    votes, weights = known_votes(layer, children)
    assert votes.shape == (6, 5, 4, 2)
    routed = (weights[..., None] * votes).sum(dim=1)
    torch.testing.assert_close(squash(routed), layer(children).poses)


@pytest.mark.parametrize("kind", ["map", "classes"])
def test_em_routing(children, kind):
    torch.manual_seed(0)
    layer = ConvEMCapsules(2, 3, kernel=3, stride=1) if kind == "map" else ClassEMCapsules(2, 3)
    votes, weights = known_votes(layer, children, 0.5)
    assert votes.shape == ((3, 2, 2, 18, 3, 16) if kind == "map" else (3, 1, 1, 32, 3, 16))
    poses = layer(children, 0.5).poses.reshape(*votes.shape[:3], 3, 16)
    torch.testing.assert_close(mean_vote(votes, weights), poses, rtol=1e-4, atol=1e-5)


class CustomRouting(RoutingLayer):
    """A routing layer whose votes are not known."""

    def forward(self, capsules):
        return Capsules(capsules, capsules[..., 0])

    route = vote_shape = check_couplings = forward


class Network(nn.Module):
    """Two routing layers, one after the other."""

    def __init__(self, last):
        super().__init__()
        self.first = DynamicRouting(num_children=5, child_dim=3, num_parents=4, parent_dim=2)
        self.last = last

    def forward(self, children):
        return self.last(self.first(children).poses)


def test_spreads_of_the_last_layer_are_recorded_batch_by_batch():
    torch.manual_seed(0)
    last = DynamicRouting(num_children=4, child_dim=2, num_parents=3, parent_dim=2)
    network = Network(last)
    children = torch.randn(6, 5, 3)
    with record_vote_spreads(network) as spreads_by_batch:
        out = [network(part) for part in children.split(4)]
    network(children)
    assert [len(part.presences) for part in spreads_by_batch] == [4, 2]
    torch.testing.assert_close(spreads_by_batch[1].presences, out[1].presences)
    below = network.first(children).poses
    spreads = vote_spread(*known_votes(last, below))
    torch.testing.assert_close(
        torch.cat([part.absolute for part in spreads_by_batch]), spreads.absolute
    )
    torch.testing.assert_close(
        torch.cat([part.relative for part in spreads_by_batch]), spreads.relative
    )


def test_the_last_layer_is_the_one_called_last():
    torch.manual_seed(0)
    network = Network(DynamicRouting(num_children=4, child_dim=2, num_parents=3, parent_dim=2))
    network._modules = dict(reversed(network._modules.items()))
    with record_vote_spreads(network) as spreads_by_batch:
        out = network(torch.randn(6, 5, 3))
    torch.testing.assert_close(spreads_by_batch[0].presences, out.presences)


@pytest.mark.parametrize(
    "network", [Network(CustomRouting()), nn.Linear(3, 2)], ids=["custom", "none"]
)
def test_without_known_votes_nothing_is_recorded(network):
    with record_vote_spreads(network) as spreads_by_batch:
        network(torch.randn(6, 5, 3))
    assert spreads_by_batch == []


def test_votes_of_self_attention_are_weighed_with_the_bias():
    """The weighted sum of the votes, squashed, is the parent."""
    layer = SelfAttentionRouting(num_children=5, child_dim=3, num_parents=4, parent_dim=2)
    torch.nn.init.normal_(layer.bias)
    children = torch.randn(2, 5, 3)
    known = weighted_votes(layer, children)
    assert known is not None
    sums = (known.votes * known.weights[..., None]).sum(dim=1)
    torch.testing.assert_close(exponential_squash(sums), layer.route(children).parents)
