"""The error of images that a model draws from views that it is told."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.data.randomness import views_by_index
from capsbench.measures import RenderingError
from capsbench.measures._result import Measured
from capsbench.viewpoint.ranges import ViewRange
from capsbench.viewpoint.warp import warp


@torch.inference_mode()
def measure(
    entry: RenderingError,
    model: Model,
    data: ImageDataModule,
    device: str,
    advance: Callable[[], None],
) -> Measured:
    """Measure a model on the test split, each image at its familiar view before it is moved.

    All errors are squared differences of pixels in [0, 1], averaged over pixels and images; each
    key begins with the name of the views. ``rendering/error`` is that of what the model draws,
    ``copy/error`` of the image that was not moved, ``constant/error`` of one image for all, the
    mean of the moved ones, which no other constant beats. ``rendering/share of copy`` is the first
    divided by the second, left out where nothing moves. A model that draws nothing has no value of
    its own; one that draws, but takes no notice of views, is measured as it is.

    Args:
        entry: The measure's arguments.
        model: The trained model, in evaluation mode on ``device``.
        data: The data module.
        device: Where the model is.
        advance: Called after each range of views, for a progress bar.
    """
    values: dict[str, float] = {}
    index = data.split("test").index.numpy()
    samples: dict[str, NDArray[Any]] = {"index": index}
    for name, ranges in entry.views.items():
        found, errors = _measure(name, ranges, model, data, device)
        values |= {f"{name}/{key}": value for key, value in found.items()}
        samples |= {f"{name}/{key}": value for key, value in errors.items()}
        advance()
    return Measured(values, [], len(index), samples)


def _measure(
    name: str, ranges: ViewRange, model: Model, data: ImageDataModule, device: str
) -> tuple[dict[str, float], dict[str, NDArray[np.float64]]]:
    """Values for one range of views, and the errors of each image behind them."""
    rendered, copied, squares = list[Tensor](), list[Tensor](), list[Tensor]()
    total = torch.zeros(data.image_shape, dtype=torch.float64)
    for batch in data.evaluation.batches("test", device):
        views = views_by_index(ranges, batch.index, "views to render", name)
        moved = warp(batch.images, views.matrices(*batch.images.shape[-2:]))
        drawn = model(batch.images, views).reconstruction
        if drawn is not None:
            rendered.append(_errors(drawn, moved))
        copied.append(_errors(batch.images, moved))
        squares.append(_errors(torch.zeros_like(moved), moved))
        total += moved.cpu().double().sum(dim=0)
    samples = {"copied": _array(copied)}
    constant = total / len(samples["copied"])
    values = {
        "copy/error": float(samples["copied"].mean()),
        "constant/error": float(_array(squares).mean() - constant.square().mean()),
    }
    if rendered:
        samples["rendered"] = _array(rendered)
        values["rendering/error"] = float(samples["rendered"].mean())
        if values["copy/error"]:
            values["rendering/share of copy"] = values["rendering/error"] / values["copy/error"]
    return values, samples


def _errors(drawn: Tensor, expected: Tensor) -> Tensor:
    """(B,) mean squared difference of the pixels of each image."""
    return (drawn.float() - expected).square().mean(dim=(1, 2, 3))


def _array(parts: list[Tensor]) -> NDArray[np.float64]:
    """Values of all batches, one after the other."""
    joined: NDArray[np.float64] = torch.cat(parts).cpu().double().numpy()
    return joined
