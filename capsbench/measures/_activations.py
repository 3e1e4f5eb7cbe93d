"""Activations of a model's layers, captured by forward hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from capsbench.contracts import LayerOfInterest, Model
from capsbench.errors import NotMeasuredError
from capsbench.profiling.device import device_of

PIXELS = "pixels"
PROBABILITIES = "probabilities"
COMMON_LAYERS = (PIXELS, PROBABILITIES)  # of every model


def choose_layers(model: Model, names: Sequence[str] | None = None) -> dict[str, LayerOfInterest]:
    """Return layers by name: those that the model declares, or modules by their dotted path.

    ``pixels`` (the input) and ``probabilities`` (of the classes) are layers of every model.

    Args:
        model: The model.
        names: Names of the layers. Default: ``pixels``, all that the model declares, and
            ``probabilities``.

    Returns:
        The layers; ``pixels`` and ``probabilities`` have no module. The kind of a module that the
        model does not declare comes from the shape of its output for a black image.

    Raises:
        NotMeasuredError: A layer does not exist, or its output is not a tensor of any kind.
    """
    declared = dict(model.layers_of_interest())
    common = {
        PIXELS: LayerOfInterest("", "map"),
        PROBABILITIES: LayerOfInterest("", "vector"),
    }
    if names is None:
        return {PIXELS: common[PIXELS], **declared, PROBABILITIES: common[PROBABILITIES]}
    modules = model.addressed_modules()
    known = common | declared
    if missing := [name for name in names if name not in known and name not in modules]:
        raise NotMeasuredError(
            f"the model has no layer {', '.join(missing)}; it has {', '.join(known)}, and its "
            "modules by their paths"
        )
    return {name: known[name] if name in known else _infer_layer(model, name) for name in names}


def _infer_layer(model: Model, path: str) -> LayerOfInterest:
    """Return a module as a layer; its kind follows from the shape of its output."""
    layer = LayerOfInterest(path, "vector")
    images = torch.zeros(1, *model.image_shape, device=device_of(model))
    with torch.no_grad(), capture_activations(model, {path: layer}) as captured:
        model(images)
    if path not in captured:
        raise NotMeasuredError(f"layer '{path}': the model's forward does not call this module")
    output: Any = captured[path]
    if not isinstance(output, Tensor) or output.dim() not in (2, 4):
        kind = (
            f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        )
        raise NotMeasuredError(
            f"layer '{path}' returns a {kind}: expected a vector (B, D) or "
            "a map (B, D, H, W); name other layers by the model's layers_of_interest()"
        )
    return LayerOfInterest(path, "vector" if output.dim() == 2 else "map")


@contextmanager
def capture_activations(
    model: Model, layers: Mapping[str, LayerOfInterest]
) -> Iterator[dict[str, Tensor]]:
    """Capture the activations of layers during each forward pass of a model.

    Args:
        model: The model.
        layers: The layers by name, from `choose_layers`.

    Yields:
        The activations of the last batch by name.
    """
    captured: dict[str, Tensor] = {}
    modules = model.addressed_modules()

    def hook_module(name: str, layer: LayerOfInterest) -> Any:
        def hook(_module: nn.Module, args: tuple[Any, ...], output: Any) -> None:
            activation = args[0] if layer.input else output
            captured[name] = activation if layer.output is None else activation[layer.output]

        return modules[layer.module].register_forward_hook(hook)

    def capture_pixels(_module: nn.Module, args: tuple[Any, ...]) -> None:
        captured[PIXELS] = args[0]

    def capture_probabilities(_module: nn.Module, _args: Any, output: Any) -> None:
        captured[PROBABILITIES] = model.log_probabilities(output).exp()

    hooks = [
        hook_module(name, layer) for name, layer in layers.items() if name not in COMMON_LAYERS
    ]
    if PIXELS in layers:
        hooks.append(model.register_forward_pre_hook(capture_pixels))
    if PROBABILITIES in layers:
        hooks.append(model.register_forward_hook(capture_probabilities))
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()
