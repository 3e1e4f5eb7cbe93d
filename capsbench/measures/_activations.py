"""Activations of a model's layers, copied by hooks before later operations can change them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor, nn

from capsbench.contracts import LayerOfInterest, Model
from capsbench.errors import NotMeasuredError
from capsbench.measures._copies import copy_activations, copy_tensors
from capsbench.measures._observations import observe_layer, unobserved
from capsbench.profiling.device import device_of

PIXELS = "pixels"
PROBABILITIES = "probabilities"
COMMON_LAYERS = (PIXELS, PROBABILITIES)  # of every model
_left_out: ContextVar[tuple[str, ...]] = ContextVar("layers left out", default=())


@contextmanager
def without_pixels() -> Iterator[None]:
    """Leave the pixels out of all chosen layers: another network has the same ones."""
    token = _left_out.set((PIXELS,))
    try:
        yield
    finally:
        _left_out.reset(token)


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
        names = (PIXELS, *declared, PROBABILITIES)
    modules = model.addressed_modules()
    known = common | declared
    if missing := [name for name in names if name not in known and name not in modules]:
        raise NotMeasuredError(
            f"the model has no layer {', '.join(missing)}; it has {', '.join(known)}, and its "
            "modules by their paths"
        )
    return {
        name: known[name] if name in known else _infer_layer(model, name)
        for name in names
        if name not in _left_out.get()
    }


def _infer_layer(model: Model, path: str) -> LayerOfInterest:
    """Return a module as a layer; its kind follows from the shape of its output."""
    layer = LayerOfInterest(path, "vector")
    images = torch.zeros(1, *model.image_shape, device=device_of(model))
    with unobserved(), torch.no_grad(), capture_activations(model, {path: layer}) as captured:
        model(images)
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

    Activations are copied when the layer is called. A later operation in place, such as
    ``ReLU(inplace=True)`` or ``x += residual``, does not change them. Of a module that is called
    several times in a pass, the last call counts. Quantised, sparse and complex activations become
    dense real numbers, see `copy_activations`.

    Args:
        model: The model.
        layers: The layers by name, from `choose_layers`.

    Yields:
        The activations of the last batch by name.

    Raises:
        NotMeasuredError: A pass does not call a layer, or only in compiled code, without hooks.
    """
    captured: dict[str, Tensor] = {}
    modules = model.addressed_modules()

    def capture(name: str, activation: Any, item: int | None) -> None:
        captured[name] = copy_activations(activation if item is None else activation[item])

    def hook_module(name: str, layer: LayerOfInterest) -> Any:
        def before(_module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
            capture(name, next(iter((*args, *kwargs.values()))), layer.output)

        def after(_module: nn.Module, _args: tuple[Any, ...], output: Any) -> None:
            capture(name, output, layer.output)

        module = modules[layer.module]
        if layer.input:  # before the call: the module itself may work in place
            return module.register_forward_pre_hook(before, with_kwargs=True)
        return module.register_forward_hook(after)

    def start(_module: nn.Module, args: tuple[Any, ...]) -> None:
        captured.clear()
        if PIXELS in layers:
            capture(PIXELS, args[0], None)

    def finish(_module: nn.Module, _args: Any, output: Any) -> None:
        if PROBABILITIES in layers:
            # Of a copy: the measure reads the output after this hook.
            captured[PROBABILITIES] = model.log_probabilities(copy_tensors(output)).exp()
        if missing := [name for name in layers if name not in captured]:
            raise NotMeasuredError(
                f"layer '{missing[0]}': forward does not call '{layers[missing[0]].module}', or "
                "calls it in compiled code, which runs no hooks"
            )
        for name, activation in captured.items():
            observe_layer(name, activation)

    hooks = [
        model.register_forward_pre_hook(start),
        *(hook_module(name, each) for name, each in layers.items() if name not in COMMON_LAYERS),
        model.register_forward_hook(finish),
    ]
    try:
        yield captured
    finally:
        for hook in hooks:
            hook.remove()
