"""Cost of a model: parameters, operations of a forward pass, and the size of all votes."""

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
from capsbench.profiling.device import device_of
from capsbench.profiling.evaluation_mode import evaluation_mode

FP32_BYTES = 4


@dataclass(frozen=True)
class LayerCost:
    """Cost of one module, including its submodules.

    Attributes:
        name: Dotted path in the model; empty for the model itself.
        type: Name of the class.
        outputs: Shape of each tensor of the last output for one image, without the batch axis;
            empty for a container that is not called itself.
        parameters: Number of parameters.
        flops: See `ModelCost.flops`.
    """

    name: str
    type: str
    outputs: list[tuple[int, ...]]
    parameters: int
    flops: int


@dataclass(frozen=True)
class ModelCost:
    """Cost of a model for one image.

    Attributes:
        layers: The model, then all its submodules, parents before children.
        decoder_parameters: Parameters of class-conditional decoders, which are only used for the
            reconstruction; None without a decoder.
        votes: Number of elements in the tensor of all votes, by routing layer.
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
        """Operations of one forward pass, including the decoder.

        Only convolutions and matrix products count, as in torch's counter; additions, activations,
        pooling and softmax do not. A multiply-add counts as two. For routing the operations of the
        textbook backend count, whichever backend runs.
        """
        return self.layers[0].flops

    def vote_bytes(self, batch: int) -> Mapping[str, int]:
        """Return the bytes of all votes of a batch in float32, by routing layer."""
        return {name: FP32_BYTES * batch * count for name, count in self.votes.items()}


@torch.no_grad()
def model_cost(model: Model) -> ModelCost:
    """Count the cost of a model in one forward pass of a black image.

    The pass runs on the model's device, not on torch's meta device, since a user's model may depend
    on values. 35 million parameters take about a second.

    Args:
        model: Model in evaluation mode; its weights do not matter.
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
    counter = FlopCounterMode(display=False)
    try:
        with counter, routing_backend(model, "textbook"):
            model(torch.zeros(1, *model.image_shape, device=device_of(model)))
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
    return ModelCost(
        layers,
        sum(map(_parameters, decoders)) if decoders else None,
        {names[layer]: count for layer, count in votes.items()},
    )


def count_flops(model: Model) -> int | None:
    """Return the operations of one image, see `ModelCost.flops`; None if they cannot be counted.

    Args:
        model: Model in either mode, on any device.
    """
    try:
        with evaluation_mode(model):
            return model_cost(model).flops
    except Exception:  # noqa: BLE001 - a user's network, such as a compiled one, fails with any error
        return None


def _parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _tensors(output: Any) -> Iterator[Tensor]:
    """Yield the tensors of a module's output: a tensor, or a nested tuple or list of tensors."""
    if isinstance(output, Tensor):
        yield output
    elif isinstance(output, (tuple, list)):
        for part in output:
            yield from _tensors(part)


def _without_batch(tensor: Tensor) -> tuple[int, ...]:
    """Return the shape without the batch axis; unchanged if there is no batch axis of length 1."""
    shape = tuple(tensor.shape)
    return shape[1:] if shape[:1] == (1,) else shape
