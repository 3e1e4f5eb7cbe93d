"""What a model's layers put out while it looks at images, by forward hooks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from capsbench.contracts import LayerOfInterest, Model
from capsbench.errors import UserError, unknown

PIXELS = "pixels"
PROBABILITIES = "probabilities"
OF_ANY_MODEL = (PIXELS, PROBABILITIES)


def choose_layers(model: Model, names: Sequence[str] | None = None) -> dict[str, LayerOfInterest]:
    """Layers by name: those that the model names, or modules of it by their dotted path.

    ``pixels`` (what the model is given) and ``probabilities`` (of the classes) are layers of any
    model.

    Args:
        model: The model.
        names: Which layers; all that the model names, between pixels and probabilities, if left
            out.

    Returns:
        The layers; those of any model have no module. The kind of a module that the model does
        not name is found by one look at a black image.

    Raises:
        UserError: There is no such layer, or what it puts out is no tensor of any kind.
    """
    named = dict(model.layers_of_interest())
    of_any = {
        PIXELS: LayerOfInterest("", "map"),
        PROBABILITIES: LayerOfInterest("", "vector"),
    }
    if names is None:
        return {PIXELS: of_any[PIXELS], **named, PROBABILITIES: of_any[PROBABILITIES]}
    modules = model.addressed_modules()
    known = of_any | named
    for name in names:
        if name not in known and name not in modules:
            raise unknown("layer:", name, [*known, *modules])
    return {name: known[name] if name in known else _look(model, name) for name in names}


def _look(model: Model, path: str) -> LayerOfInterest:
    """A module as a layer; its kind is that of its output's shape."""
    layer = LayerOfInterest(path, "vector")
    device = next(model.parameters(), torch.empty(0)).device
    images = torch.zeros(1, *model.image_shape, device=device)
    with torch.no_grad(), watching(model, {path: layer}) as seen:
        model(images)
    if path not in seen:
        raise UserError(f"layer '{path}': the model's forward does not call this module")
    output: Any = seen[path]
    if not isinstance(output, Tensor) or output.dim() not in (2, 4):
        of = f"shape {tuple(output.shape)}" if isinstance(output, Tensor) else type(output).__name__
        raise UserError(
            f"layer '{path}' puts out a {of}: expected a vector (B, D) or "
            "a map (B, D, H, W); name other layers by the model's layers_of_interest()"
        )
    return LayerOfInterest(path, "vector" if output.dim() == 2 else "map")


@contextmanager
def watching(model: Model, layers: Mapping[str, LayerOfInterest]) -> Iterator[dict[str, Tensor]]:
    """Keep what layers put out, while the model looks at one batch after another.

    Args:
        model: The model.
        layers: The layers by name, from `choose_layers`.

    Yields:
        The last batch's activations by name.
    """
    seen: dict[str, Tensor] = {}
    modules = model.addressed_modules()

    def keep(name: str, layer: LayerOfInterest) -> Any:
        def hook(_module: nn.Module, _given: Any, output: Any) -> None:
            seen[name] = output if layer.output is None else output[layer.output]

        return modules[layer.module].register_forward_hook(hook)

    def keep_pixels(_module: nn.Module, given: tuple[Any, ...]) -> None:
        seen[PIXELS] = given[0]

    def keep_probabilities(_module: nn.Module, _given: Any, output: Any) -> None:
        seen[PROBABILITIES] = model.log_probabilities(output).exp()

    hooks = [keep(name, layer) for name, layer in layers.items() if name not in OF_ANY_MODEL]
    if PIXELS in layers:
        hooks.append(model.register_forward_pre_hook(keep_pixels))
    if PROBABILITIES in layers:
        hooks.append(model.register_forward_hook(keep_probabilities))
    try:
        yield seen
    finally:
        for hook in hooks:
            hook.remove()
