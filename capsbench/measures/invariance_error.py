"""Invariance error of a trained model's layers, view by view."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from capsbench import measures
from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures._activations import choose_layers
from capsbench.measures._errors_by_view import Pair, measure_errors
from capsbench.measures._result import Measured
from capsbench.viewpoint.grid import GridView


@torch.inference_mode()
def measure(
    entry: measures.InvarianceError,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure layers of any kind, each as one vector for each image.

    Keys are ``invariance/error@<layer>`` and others, see
    `capsbench.measures._errors_by_view.measure_errors`; the error is defined in
    `capsbench.measures._invariance.invariance_error`.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each view, for a progress bar.
    """
    layers = choose_layers(model, entry.layers)
    views = entry.grid.views()
    return measure_errors(_as_vectors, layers, views, entry.images, model, data, device, advance)


def _as_vectors(_view: GridView, _layer: str, f_x: Tensor, f_gx: Tensor) -> dict[str, Pair]:
    return {"invariance": (f_x, f_gx)}
