"""Spread of the votes for a model's last capsules, recorded in forward passes."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.em_layers import EMCapsules
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.pair_layers import PairRouting
from capsbench.capsules.self_attention_routing import SelfAttentionRouting
from capsbench.capsules.window_layers import WindowCapsules
from capsbench.capsules.windows import windows
from capsbench.measures._copies import copy_tensors
from capsbench.measures._routing_agreement import vote_spread


class WeightedVotes(NamedTuple):
    """Votes for capsules with their weights.

    Attributes:
        votes: (..., I, J, D) of child i for parent j.
        weights: (..., I, J).
    """

    votes: Tensor
    weights: Tensor


@singledispatch
def weighted_votes(layer: RoutingLayer, *_: Any) -> WeightedVotes | None:  # noqa: ARG001  # dispatch
    """Return the votes for a layer's capsules; None if they are not known for its class.

    To support another routing layer, put ``@weighted_votes.register`` above a function of the layer
    and the inputs of its `forward`.
    """
    return None


@weighted_votes.register
def _(layer: PairRouting, children: Tensor) -> WeightedVotes:
    # An absent child has short votes, so its presence does not count again.
    return WeightedVotes(layer.votes(children), layer.route(children).couplings)


@weighted_votes.register
def _(layer: SelfAttentionRouting, children: Tensor) -> WeightedVotes:
    couplings = layer.route(children).couplings
    return WeightedVotes(layer.votes(children), couplings + layer.bias)


@weighted_votes.register
def _(layer: EMCapsules, capsules: Capsules, inverse_temperature: Tensor | float) -> WeightedVotes:
    assignments = layer.route(capsules, inverse_temperature).assignments
    mass = _mass(assignments, capsules, layer.stride)
    return WeightedVotes(layer.votes(capsules).transpose(3, 4), mass)


@weighted_votes.register
def _(layer: WindowCapsules, capsules: Capsules) -> WeightedVotes:
    couplings = layer.route(capsules).couplings
    if layer.weighs_presences:
        mass = _mass(couplings, capsules, layer.stride)
    else:  # an absent child has short votes
        mass = couplings.flatten(start_dim=4).transpose(3, 4)
    return WeightedVotes(layer.votes(capsules).transpose(3, 4), mass)


def _mass(assignments: Tensor, capsules: Capsules, stride: int) -> Tensor:
    """Return assignments (B, H', W', P, KH, KW, C) times presences, as (B, H', W', I, P)."""
    kernel = assignments.shape[4], assignments.shape[5]
    presences = windows(capsules.presences, kernel, stride)
    return (assignments * presences.unsqueeze(3)).flatten(start_dim=4).transpose(3, 4)


class CapsuleSpreads(NamedTuple):
    """Presence of the last layer's capsules, and the spread of the votes for them.

    Attributes:
        presences: (B, J).
        absolute: (B, J), see `capsbench.measures._routing_agreement.VoteSpread`.
        relative: (B, J).
    """

    presences: Tensor
    absolute: Tensor
    relative: Tensor


@contextmanager
def record_vote_spreads(model: nn.Module) -> Iterator[list[CapsuleSpreads]]:
    """Record the spread of the votes for a model's last capsules, in each forward pass.

    The last layer is the routing layer that is called last, wherever it is registered. It routes
    once more to return its votes, from copies of its inputs, which later operations in place do not
    change. The votes of a batch are stored, in float64.

    Yields:
        A list to which each batch adds its spreads. It stays empty without a routing layer, or if
        `weighted_votes` does not support the layer.
    """
    spreads: list[CapsuleSpreads] = []
    last_call: list[tuple[RoutingLayer, tuple[Any, ...], dict[str, Any]]] = []
    last_presences: list[Tensor] = []

    def keep_inputs(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert isinstance(layer, RoutingLayer)
        last_call[:] = [(layer, *copy_tensors((args, kwargs)))]

    def keep_presences(_layer: nn.Module, _args: Any, output: Capsules) -> None:
        last_presences[:] = [output.presences.flatten(start_dim=1).clone()]

    def add_spreads(*_: Any) -> None:
        for (layer, args, kwargs), presences in zip(last_call, last_presences, strict=True):
            weighted = weighted_votes(layer, *args, **kwargs)
            if weighted is not None:
                parts = (part.flatten(start_dim=1) for part in vote_spread(*weighted))
                spreads.append(CapsuleSpreads(presences, *parts))
        last_call.clear()
        last_presences.clear()

    layers = [module for module in model.modules() if isinstance(module, RoutingLayer)]
    handles = [layer.register_forward_pre_hook(keep_inputs, with_kwargs=True) for layer in layers]
    handles += [layer.register_forward_hook(keep_presences) for layer in layers]
    handles.append(model.register_forward_hook(add_spreads))
    try:
        with torch.no_grad():
            yield spreads
    finally:
        for handle in handles:
            handle.remove()
