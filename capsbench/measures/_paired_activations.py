"""Activations of layers for test images as stored, and for the same images from a view."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from capsbench.contracts import Batch, LayerOfInterest, Model
from capsbench.data.evaluation import ViewSelection
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import capture_activations
from capsbench.measures._image_subset import ImageSubset, subset_batches
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views

Activations = dict[str, Tensor]


def activations(
    model: Model,
    layers: Mapping[str, LayerOfInterest],
    data: ImageDataModule,
    device: torch.device | str,
    subset: ImageSubset,
    views: ViewSelection,
) -> Iterator[tuple[Batch, Activations]]:
    """Yield batches of images with the activations of layers, f(x) by name.

    Args:
        model: The model, in evaluation mode on ``device``.
        layers: The layers by name, from `choose_layers`.
        data: The data module.
        device: Device of the model.
        subset: The images.
        views: The view; a recorded view of a grid is a change.
    """
    with capture_activations(model, layers) as captured:
        for batch in subset_batches(data, device, subset, views):
            model(batch.images)
            yield batch, _copy(captured)


def paired_activations(
    model: Model,
    layers: Mapping[str, LayerOfInterest],
    data: ImageDataModule,
    device: torch.device | str,
    subset: ImageSubset,
    view: GridView,
) -> Iterator[tuple[Batch, Activations, Activations]]:
    """Yield batches of images x as stored, with f(x) and f(T_g x), T_g a view of a grid.

    Both passes follow each other batch by batch, so that memory is that of one batch. Arguments are
    those of `activations`.
    """
    with capture_activations(model, layers) as captured:
        pairs = zip(
            subset_batches(data, device, subset, identity_view()),
            subset_batches(data, device, subset, view),
            strict=True,
        )
        for stored, transformed in pairs:
            model(stored.images)
            f_x = _copy(captured)
            model(transformed.images)
            yield stored, f_x, _copy(captured)


def identity_view() -> Views:
    """Return the view of images as they are stored."""
    return Views.identity(1)


def _copy(captured: Mapping[str, Tensor]) -> Activations:
    """Return the last activations, on the CPU if the device has no float64 for sums."""
    return {name: out.cpu() if out.device.type == "mps" else out for name, out in captured.items()}
