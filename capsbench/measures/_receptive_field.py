"""Layers that have places, and which of them do not look at the border of the image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.randomness import generator
from capsbench.measures._activations import capture_activations
from capsbench.profiling.evaluation_mode import evaluation_mode

ROUNDING = 1e-5  # fp32: a change that is a smaller share of the largest activation is none


def as_map(layer: LayerOfInterest, output: Tensor) -> Tensor | None:
    """A layer's output as a map of scalar fields (B, D, H, W); None where it is none.

    Maps are so, and the presences of capsules that have places, (B, H, W, C). Poses are not: when
    an image moves, they change in themselves and not only from place to place.

    Args:
        layer: The layer.
        output: What it put out.
    """
    if layer.kind == "map":
        return output
    if layer.kind == "presence" and output.dim() == 4:
        return output.permute(0, 3, 1, 2)
    return None


@torch.no_grad()
def places_inside(
    model: Model, layers: Mapping[str, LayerOfInterest], images: Tensor
) -> dict[str, Tensor]:
    """The places of maps that, with their neighbours, do not look at the border of the image.

    Beyond the border nothing is known, and what a model assumes there, such as zeros, does not move
    with the image. So the outermost pixels are replaced by noise, and by the same noise upside
    down, which has the same mean and variance: a model may standardise its images. A place whose
    receptive field reaches the border, or beyond it, tells the two apart. Its neighbours are left
    out too, as interpolation reads them, and so are the outermost places of the map.

    Args:
        model: The model.
        layers: Layers by name; those that have no places are passed over.
        images: (B, C, H, W), some of those to be measured: where a ReLU, say, hides the border in
            all of them, it does not count.

    Returns:
        (H', W') bool for each layer that is a map, on the device of the images.
    """
    noise = torch.rand(images.shape, generator=generator("border of images")).to(images)
    with evaluation_mode(model):
        first, second = (
            _maps(model, layers, _framed(images, frame)) for frame in (noise, noise.flip(2, 3))
        )
    result = {}
    for name, output in first.items():
        difference = (second[name] - output).abs().amax(dim=(0, 1))
        changed = difference > ROUNDING * output.abs().max()
        around = F.pad(changed.float(), (1, 1, 1, 1), value=1.0)[None, None]
        result[name] = F.max_pool2d(around, 3, stride=1)[0, 0] == 0
    return result


def _framed(images: Tensor, frame: Tensor) -> Tensor:
    """Images (B, C, H, W) with the outermost pixels of others."""
    result = frame.clone()
    result[..., 1:-1, 1:-1] = images[..., 1:-1, 1:-1]
    return result


def _maps(model: Model, layers: Mapping[str, LayerOfInterest], images: Tensor) -> dict[str, Tensor]:
    with capture_activations(model, layers) as seen:
        model(images)
    maps = {name: as_map(layer, seen[name]) for name, layer in layers.items()}
    return {name: output for name, output in maps.items() if output is not None}
