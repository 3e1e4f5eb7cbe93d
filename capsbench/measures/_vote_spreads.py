"""How far the votes for a model's last capsules lie apart, while it looks at images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import singledispatch
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from capsbench.capsules.capsule import Capsules
from capsbench.capsules.dynamic_routing import DynamicRouting
from capsbench.capsules.em_layers import EMCapsules
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.windows import windows
from capsbench.measures._routing_agreement import vote_spread


class Weighted(NamedTuple):
    """The votes for capsules, and how much each counts.

    Attributes:
        votes: (..., I, J, D).
        weights: (..., I, J).
    """

    votes: Tensor
    weights: Tensor


@singledispatch
def weighted_votes(layer: RoutingLayer, *_: Any) -> Weighted | None:  # noqa: ARG001  # for the others
    """The votes of a layer's children, the inputs of its `forward`; None where not known.

    A routing of one's own is made known by ``@weighted_votes.register`` above a function of the
    layer and its inputs.
    """
    return None


@weighted_votes.register
def _(layer: DynamicRouting, children: Tensor) -> Weighted:
    # An absent child has short votes: its presence does not count apart.
    return Weighted(layer.votes(children), layer.route(children).couplings)


@weighted_votes.register
def _(layer: EMCapsules, capsules: Capsules, inverse_temperature: Tensor | float) -> Weighted:
    assignments = layer.route(capsules, inverse_temperature).assignments
    kernel = assignments.shape[4], assignments.shape[5]
    presences = windows(capsules.presences, kernel, layer.stride)
    mass = (assignments * presences.unsqueeze(3)).flatten(start_dim=4)  # (B, H', W', P, I)
    return Weighted(layer.votes(capsules).transpose(3, 4), mass.transpose(3, 4))


class LastSpreads(NamedTuple):
    """What was found at the last layer.

    Attributes:
        presences: (B, J) of its capsules.
        absolute: (B, J), see `capsbench.measures._routing_agreement.VoteSpread`.
        relative: (B, J).
    """

    presences: Tensor
    absolute: Tensor
    relative: Tensor


@contextmanager
def watching_votes(model: nn.Module) -> Iterator[list[LastSpreads]]:
    """Ask a model's last routing layer for its votes, while the model looks at images.

    The last one is that which is called last in a forward pass, wherever it is registered. It
    routes once more for it. The votes of a batch are stored, in float64.

    Yields:
        A list to which each batch adds what was found; nothing without a routing layer, or where
        it is not known how it votes (`weighted_votes`).
    """
    found: list[LastSpreads] = []

    calls: list[tuple[RoutingLayer, tuple[Any, ...], dict[str, Any], Capsules]] = []

    def keep(
        layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], output: Capsules
    ) -> None:
        assert isinstance(layer, RoutingLayer)
        calls[:] = [(layer, args, kwargs, output)]

    def ask(*_: Any) -> None:
        for layer, args, kwargs, output in calls:
            weighted = weighted_votes(layer, *args, **kwargs)
            if weighted is not None:
                spreads = (part.flatten(start_dim=1) for part in vote_spread(*weighted))
                found.append(LastSpreads(output.presences.flatten(start_dim=1), *spreads))
        calls.clear()

    layers = [module for module in model.modules() if isinstance(module, RoutingLayer)]
    handles = [layer.register_forward_hook(keep, with_kwargs=True) for layer in layers]
    handles.append(model.register_forward_hook(ask))
    try:
        with torch.no_grad():
            yield found
    finally:
        for handle in handles:
            handle.remove()
