"""Description of a wrapped network: what was fitted, its loss, its layers, and what it lacks."""

from __future__ import annotations

from torch import nn

from capsbench.wrapping.built_model import BuiltModel
from capsbench.wrapping.logits_model import LogitsModel

LOSS = "cross-entropy of the logits; several objects in an image have equal shares"
# Parts that a network with logits alone does not have, with the measures that use them.
LACKS = {
    "presences of class capsules": "calibration and part-whole measure probabilities alone",
    "poses of capsules": "pose-readout and linear-equivariance measure its other layers",
    "maps with known positions": "spatial-equivariance and lie-derivative measure none of its maps",
    "a reconstruction": "rendering-error measures nothing",
}


def describe_wrapper(model: LogitsModel) -> dict[str, str]:
    """Describe a wrapped network in sentences, by their subjects."""
    fitted = model.fitted if isinstance(model, BuiltModel) else {}
    own = model.image_shape[0]
    repeated = "given as they are"
    if model.channels != own:
        repeated = f"{own} repeated in turn to the {model.channels} that the network takes"
    standardized = [name for name in ("mean", "std") if getattr(model, name) is not None]
    output = "the output"
    if model.output_key is not None:
        output = f"item {model.output_key!r} of the output, if this is no tensor"
    return {
        "fitted": ", ".join(f"{name}={value}" for name, value in fitted.items()) or "nothing",
        "channels": repeated,
        "pixels": f"in [0, 1], then {' and '.join(standardized)}" if standardized else "in [0, 1]",
        "logits": output,
        "loss": LOSS,
        "measured_layers": _layers(model),
        "lacks": "; ".join(f"{part}: {consequence}" for part, consequence in LACKS.items()),
    }


def _layers(model: LogitsModel) -> str:
    modules = model.addressed_modules()
    if not modules:
        reason = "a compiled graph runs no hooks" if model.is_graph else "it has no modules inside"
        return f"none, since {reason}"
    declared = [
        f"{name} (the input of {layer.module})"
        for name, layer in model.layers_of_interest().items()
    ]
    examples = [path for path, each in modules.items() if isinstance(each, nn.Conv2d | nn.Linear)]
    paths = (
        f"any module by its path, such as {examples[0]}" if examples else "any module by its path"
    )
    return ", and ".join([*declared, paths])
