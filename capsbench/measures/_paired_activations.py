"""The same test images as they are stored and from a view, and what layers put out for both."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from capsbench.contracts import Batch, LayerOfInterest, Model
from capsbench.data.images import ImageDataModule, ViewSelection
from capsbench.measures._activations import watching
from capsbench.measures._image_subset import Chosen, seen_batches
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.views import Views

Activations = dict[str, Tensor]


def activations(
    model: Model,
    layers: Mapping[str, LayerOfInterest],
    data: ImageDataModule,
    device: torch.device | str,
    chosen: Chosen,
    at: ViewSelection,
) -> Iterator[tuple[Batch, Activations]]:
    """What layers put out while the model looks at images, batch by batch.

    Args:
        model: The model, in evaluation mode on ``device``.
        layers: The layers by name, from `choose_layers`.
        data: The data module.
        device: Where the model is.
        chosen: Which images.
        at: From where they are seen; a recorded view of a grid stands for a change by so much.
    """
    with watching(model, layers) as seen:
        for batch in seen_batches(data, device, chosen, at):
            model(batch.images)
            yield batch, _kept(seen)


def paired_activations(
    model: Model,
    layers: Mapping[str, LayerOfInterest],
    data: ImageDataModule,
    device: torch.device | str,
    chosen: Chosen,
    view: GridView,
) -> Iterator[tuple[Batch, Activations, Activations]]:
    """The same for f(x) and f(T_g x), x an image as it is stored and T_g a view of a grid.

    The model looks twice at each batch, so that memory is that of a batch. The batches are of x.
    Arguments are those of `activations`.
    """
    with watching(model, layers) as seen:
        pairs = zip(
            seen_batches(data, device, chosen, at_rest()),
            seen_batches(data, device, chosen, view),
            strict=True,
        )
        for still, moved in pairs:
            model(still.images)
            f_x = _kept(seen)
            model(moved.images)
            yield still, f_x, _kept(seen)


def at_rest() -> Views:
    """The view of images as they are stored, which views of a grid start from."""
    return Views.identity(1)


def _kept(seen: Mapping[str, Tensor]) -> Activations:
    """Activations of the last batch; on the CPU where the device has no float64 to sum up in."""
    return {name: out.cpu() if out.device.type == "mps" else out for name, out in seen.items()}
