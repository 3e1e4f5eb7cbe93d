"""Positions of maps whose receptive field does not reach the border of the image."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor
from torch.nn import functional as F

from capsbench.contracts import LayerOfInterest, Model
from capsbench.data.randomness import generator
from capsbench.measures._activations import capture_activations
from capsbench.measures._layer_transforms import as_fields, has_positions
from capsbench.measures._observations import unobserved
from capsbench.profiling.evaluation_mode import evaluation_mode
from capsbench.representations import SpatialMap

ROUNDING = 1e-5  # fp32: a change below this share of the largest activation counts as none


def scalar_field(layer: LayerOfInterest, output: Tensor) -> Tensor | None:
    """Return a layer's output as a map of scalar fields (B, D, H, W), or None if it is none.

    Maps are scalar fields, and so are the presences of capsules at positions, (B, H, W, C). Poses
    are not: they rotate with the image and also move between positions.

    Args:
        layer: The layer.
        output: Its output.
    """
    if layer.kind == "map":
        return output
    if layer.kind == "presence" and output.dim() == 4:
        return output.permute(0, 3, 1, 2)
    return None


@torch.no_grad()
def interior_positions(
    model: Model, layers: Mapping[str, LayerOfInterest], images: Tensor
) -> dict[str, Tensor]:
    """Return the positions of maps that, with their neighbours, do not see the border of the image.

    Nothing is known beyond the border, and the values that a model assumes there, such as zeros, do
    not move with the image. The outermost pixels are replaced by noise, and by the same noise
    upside down, which has the same mean and variance, since a model may standardise its images. The
    two outputs differ at a position whose receptive field reaches the border. Its neighbours are
    left out too, because interpolation reads them, and so are the outermost positions of the map.

    Args:
        model: The model.
        layers: Layers by name; those without positions are skipped.
        images: (B, C, H, W), some of the measured images. A position is not detected if, for
            example, a ReLU hides the border in all of them.

    Returns:
        (H', W') bool for each layer with positions, on the device of the images.
    """
    noise = torch.rand(images.shape, generator=generator("border of images")).to(images)
    with evaluation_mode(model):
        first, second = (
            _fields(model, layers, _with_border(images, border))
            for border in (noise, noise.flip(2, 3))
        )
    result = {}
    for name, output in first.items():
        difference = (second[name] - output).abs().amax(dim=(0, 1, 2))
        changed = difference > ROUNDING * output.abs().max()
        around = F.pad(changed.float(), (1, 1, 1, 1), value=1.0)[None, None]
        result[name] = F.max_pool2d(around, 3, stride=1)[0, 0] == 0
    return result


def _with_border(images: Tensor, other: Tensor) -> Tensor:
    """Return images (B, C, H, W) with the outermost pixels of others."""
    result = other.clone()
    result[..., 1:-1, 1:-1] = images[..., 1:-1, 1:-1]
    return result


def _fields(
    model: Model, layers: Mapping[str, LayerOfInterest], images: Tensor
) -> dict[str, Tensor]:
    """Return the layers with positions as fields (B, C, D, H', W')."""
    with unobserved(), capture_activations(model, layers) as captured:
        model(images)
    return {
        name: as_fields(name, layer, captured[name], SpatialMap())
        for name, layer in layers.items()
        if has_positions(layer, captured[name])
    }
