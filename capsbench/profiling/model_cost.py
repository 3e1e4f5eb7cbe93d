"""What a model costs: parameters, operations of a forward pass, and the size of all votes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from capsbench.capsules.backends import routing_backend
from capsbench.capsules.layer import RoutingLayer
from capsbench.capsules.reconstruction import ClassConditionalDecoder
from capsbench.contracts import Model

FP32_BYTES = 4


@dataclass(frozen=True)
class LayerCost:
    """What one module costs, with all modules inside of it.

    Attributes:
        name: Dotted path in the model; empty for the model itself.
        type: Name of its class.
        outputs: Shape of each tensor of its last output for one image, without the dimension of the
            batch; empty for a container that is never called itself.
        parameters: Number of its parameters.
        flops: As in `Cost`.
    """

    name: str
    type: str
    outputs: list[tuple[int, ...]]
    parameters: int
    flops: int


@dataclass(frozen=True)
class Cost:
    """What a model costs for one image.

    Attributes:
        layers: The model, then every module inside of it, each before those that it holds.
        decoder_parameters: Parameters of class-conditional decoders, which are there for the
            reconstruction alone; None without one.
        votes: Numbers in the tensor of all votes, by routing layer.
    """

    layers: list[LayerCost]
    decoder_parameters: int | None
    votes: Mapping[str, int]

    @property
    def parameters(self) -> int:
        """Number of all parameters."""
        return self.layers[0].parameters

    @property
    def flops(self) -> int:
        """Operations of one forward pass, the decoder's drawing included.

        Those of convolutions and matrix products alone, as torch's counter has it: additions,
        activations, poolings and softmaxes do not count. A multiply-add counts as two. Of routing
        it counts what the textbook's form does, in whichever form it runs.
        """
        return self.layers[0].flops

    def vote_bytes(self, batch: int) -> Mapping[str, int]:
        """Bytes that all votes for a batch would take in float32, by routing layer."""
        return {name: FP32_BYTES * batch * count for name, count in self.votes.items()}


@torch.no_grad()
def cost(model: Model) -> Cost:
    """Count what a model costs, by one forward pass of a black image.

    It runs where the model is, and not on torch's meta device, since a model of one's own may look
    at values. 35 million parameters take about a second.

    Args:
        model: In evaluation mode; trained or not is the same.
    """
    outputs: dict[nn.Module, list[tuple[int, ...]]] = {}
    votes: dict[nn.Module, int] = {}

    def note_output(module: nn.Module, _: Any, output: Any) -> None:
        outputs[module] = [_without_batch(tensor) for tensor in _tensors(output)]

    def note_votes(layer: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        assert isinstance(layer, RoutingLayer)
        votes[layer] = math.prod(layer.vote_shape(*args, **kwargs))

    hooks = [module.register_forward_hook(note_output) for module in model.modules()]
    hooks += [
        layer.register_forward_pre_hook(note_votes, with_kwargs=True)
        for layer in model.modules()
        if isinstance(layer, RoutingLayer)
    ]
    device = next(model.parameters(), torch.empty(0)).device
    counter = FlopCounterMode(display=False)
    try:
        with counter, routing_backend(model, "textbook"):
            model(torch.zeros(1, *model.image_shape, device=device))
    finally:
        for hook in hooks:
            hook.remove()
    counts, root = counter.get_flop_counts(), type(model).__name__
    layers = [
        LayerCost(
            name,
            type(module).__name__,
            outputs.get(module, []),
            _parameters(module),
            sum(counts.get(f"{root}.{name}" if name else "Global", {}).values()),
        )
        for name, module in model.named_modules()
    ]
    decoders = [m for m in model.modules() if isinstance(m, ClassConditionalDecoder)]
    names = {module: name for name, module in model.named_modules()}
    return Cost(
        layers,
        sum(map(_parameters, decoders)) if decoders else None,
        {names[layer]: count for layer, count in votes.items()},
    )


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _tensors(output: Any) -> Iterator[Tensor]:
    """The tensors in what a module returns: one, or several in a tuple or list."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from _tensors(part)


def _without_batch(tensor: Tensor) -> tuple[int, ...]:
    """A shape for one image; one that does not begin with the batch stays as it is."""
    shape = tuple(tensor.shape)
    return shape[1:] if shape[:1] == (1,) else shape
