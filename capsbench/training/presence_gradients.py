"""Share of presences through which no gradient passes.

A presence is a sigmoid or a length. In float32 a sigmoid is exactly 1 from a logit of 17 on, and
its derivative p (1 - p) exactly 0: a capsule that is wrong there has no way back.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from capsbench.contracts import Batch, LayerOfInterest, Model

IMAGES = 32  # of the validation images; enough for a share of their many presences


def zero_gradient_shares(model: Model, batch: Batch, progress: float) -> dict[str, float]:
    """Return the share of presences of each layer that are exactly 0 or 1, by the layer's name.

    Layers are those of interest whose presences the loss depends on: not the class presences of a
    network whose loss uses their logits. Their share is of `IMAGES` images at most.

    Args:
        model: The model, in evaluation mode.
        batch: Some images; without any the result is empty.
        progress: Completed share of the training, for the loss.
    """
    layers = {
        name: layer
        for name, layer in model.layers_of_interest().items()
        if layer.kind == "presence" and not layer.input
    }
    if not layers or not len(batch.images):
        return {}
    batch = batch[:IMAGES]
    presences: dict[str, Tensor] = {}
    modules = model.addressed_modules()
    hooks = [
        modules[layer.module].register_forward_hook(_recorder(presences, name, layer))
        for name, layer in layers.items()
    ]
    try:
        with torch.enable_grad():
            loss = model.loss(model(batch.images), batch, progress)
    finally:
        for hook in hooks:
            hook.remove()
    tensors = {name: presence for name, presence in presences.items() if presence.requires_grad}
    if not tensors or not loss.requires_grad:
        return {}
    gradients: tuple[Tensor | None, ...] = torch.autograd.grad(
        loss, list(tensors.values()), allow_unused=True
    )
    return {
        name: ((presence <= 0) | (presence >= 1)).float().mean().item()
        for (name, presence), gradient in zip(tensors.items(), gradients, strict=True)
        if gradient is not None
    }


def _recorder(
    presences: dict[str, Tensor], name: str, layer: LayerOfInterest
) -> Callable[[nn.Module, Any, Any], None]:
    def record(_module: nn.Module, _inputs: Any, output: Any) -> None:
        presences[name] = output if layer.output is None else output[layer.output]

    return record
