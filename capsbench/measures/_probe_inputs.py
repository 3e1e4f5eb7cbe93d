"""Inputs of linear probes: features of layers, and the factors of each image's view."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext

import torch
from torch import Tensor

from capsbench.contracts import Model, Prediction
from capsbench.data.batches import Split
from capsbench.data.images import ImageDataModule
from capsbench.data.randomness import generator
from capsbench.measures._activations import capture_activations, choose_layers
from capsbench.measures._linear_probe import cosine_and_sine
from capsbench.measures._poolings import capture_poolings, max_poolings
from capsbench.measures._random_views import batches_at_views
from capsbench.viewpoint.factors import FACTORS, RECORDED
from capsbench.viewpoint.part import Part
from capsbench.viewpoint.views import Views

TRUE_CLASS = "true class pose"
NO_POOLINGS = "Nothing is measured around max-poolings: the model has none that is a module."
MAX_NUMBERS = 16_384  # of a layer: 2,000 images take 131 MB, and some copies of that in float64


def view_targets(factors: Sequence[str], images: Split, views: Views) -> dict[str, Tensor]:
    """Return the targets of each factor: (N, 1), or of an angle (N, 2) cosine and sine.

    Args:
        factors: Names of the factors, recorded or of the views.
        images: N images.
        views: Their N views.
    """
    targets: dict[str, Tensor] = {}
    for name in factors:
        if name in RECORDED:
            numbers = images.factors[name]
        elif name.startswith("shift"):
            numbers = views.shift[:, "xy".index(name[-1])]
        elif name.startswith("tilt"):
            assert views.tilt is not None  # a factor to predict varies
            numbers = views.tilt[:, "xy".index(name[-1])]
        elif name == "scale":
            numbers = views.scale[:, 0]
        else:
            numbers = getattr(views, name)
        angle = FACTORS[name].period is not None
        targets[name] = cosine_and_sine(numbers) if angle else numbers.double()[:, None]
    return targets


def layer_features(
    model: Model,
    names: Sequence[str] | None,
    data: ImageDataModule,
    images: Split,
    views: Views,
    part: Part,
    device: str,
    *,
    poolings: bool,
) -> tuple[dict[str, Tensor], list[str]]:
    """Compute the features of layers for images, each from one view.

    Args:
        model: The model, in evaluation mode on ``device``.
        names: Names of the layers; by default those of `choose_layers` and, if the model's poses
            are of classes, the pose of the true class.
        data: The data module.
        images: N of its images.
        views: N views.
        part: Part of the image that the views move.
        device: Device of the model.
        poolings: Add the inputs and outputs of max-poolings.

    Returns:
        By layer (N, D) fp32 on the CPU, of a large layer ``MAX_NUMBERS`` numbers drawn at random;
        and notes on the layers that are incomplete or left out.
    """
    layers = choose_layers(model, names)
    notes: dict[str, None] = {}  # in order, each once
    parts: dict[str, list[Tensor]] = {}
    pooling_maps = capture_poolings(model) if poolings else nullcontext(dict[str, Tensor]())
    with capture_activations(model, layers) as captured, pooling_maps as pooled:
        for batch in batches_at_views(data, images, views, part, device):
            prediction = model(batch.images)
            outputs = {name: captured[name].flatten(start_dim=1) for name in layers}
            if names is None:
                outputs |= _true_class_pose(model, prediction, batch.targets)
            outputs |= {name: maps.flatten(start_dim=1) for name, maps in pooled.items()}
            for name, numbers in outputs.items():
                parts.setdefault(name, []).append(_random_columns(numbers).float().cpu())
                if numbers.shape[1] > MAX_NUMBERS:
                    notes[
                        f"Of the {numbers.shape[1]:,} numbers of layer '{name}', {MAX_NUMBERS:,} "
                        "drawn at random are used."
                    ] = None
    if poolings and not max_poolings(model):
        notes[NO_POOLINGS] = None
    joined = {name: torch.cat(batches) for name, batches in parts.items()}
    for name in [name for name, numbers in joined.items() if not numbers.isfinite().all()]:
        del joined[name]
        notes[f"Layer '{name}' is left out: not all of its numbers are finite."] = None
    return joined, list(notes)


def _true_class_pose(model: Model, prediction: Prediction, targets: Tensor) -> dict[str, Tensor]:
    """Return the pose of each image's class, (B, D); nothing if poses are not of classes."""
    poses = prediction.poses
    if poses is None or poses.shape[1] != model.num_classes or targets.dim() != 1:
        return {}
    rows = torch.arange(len(poses), device=poses.device)
    return {TRUE_CLASS: poses[rows, targets].flatten(start_dim=1)}


def _random_columns(numbers: Tensor) -> Tensor:
    """Return at most ``MAX_NUMBERS`` columns of (B, D), the same in every batch."""
    size = numbers.shape[1]
    if size <= MAX_NUMBERS:
        return numbers
    order = torch.randperm(size, generator=generator("numbers to read", size))
    return numbers[:, order[:MAX_NUMBERS].sort().values.to(numbers.device)]
