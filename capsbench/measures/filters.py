"""The share of a model's first filters that are turned copies of one another."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import unknown
from capsbench.measures import Filters
from capsbench.measures._filter_copies import SMALLEST, turned_copies
from capsbench.measures._result import Measured


@torch.inference_mode()
def measure(
    entry: Filters,
    model: Model,
    data: ImageDataModule,  # noqa: ARG001  # every measure takes the same
    device: str,  # noqa: ARG001  # likewise
    advance: Callable[[], None],
) -> Measured:
    """Measure the filters of a model's convolution; no image is looked at.

    ``filters/share`` is the share of filters that are more alike to a turned copy of another than
    95 % of random filters are, ``filters/threshold`` what these 95 % stay below,
    ``filters/similarity`` and ``filters/random similarity`` the mean cosines of true and of random
    filters, ``filters/count`` the number of filters that vary.

    Args:
        entry: The measure's arguments.
        model: The trained model.
        data: Not needed.
        device: Where the model is.
        advance: Called at the end.

    Raises:
        UserError: The layer that is named is no convolution.
    """
    filters = _first_filters(model) if entry.layer is None else _filters_of(model, entry.layer)
    reason = "the model has no convolution of the image" if filters is None else _unfit(filters)
    if filters is None or reason:
        advance()
        return Measured({}, [], 0, {}, (f"No filters are compared: {reason}.",))
    found = turned_copies(filters, null=entry.null, null_sets=entry.sets)
    advance()
    defined = found.similarity.isfinite()
    if not defined.any():
        return Measured({}, [], 0, {}, ("No filters are compared: none of them varies.",))
    values = {
        "filters/share": float(found.share),
        "filters/threshold": float(found.threshold),
        "filters/similarity": float(found.similarity.nanmean()),
        "filters/random similarity": float(found.random.nanmean()),
        "filters/count": float(defined.sum()),
    }
    names = ("similarity", "source", "angle", "scale", "random")
    return Measured(values, [], 0, {name: getattr(found, name).cpu().numpy() for name in names})


def _first_filters(model: Model) -> Tensor | None:
    """(F, C, K, K) of the first convolution that takes as many channels as the image has."""
    layers = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    fits = (layer.weight for layer in layers if layer.in_channels == model.image_shape[0])
    return next(fits, None)


def _filters_of(model: Model, path: str) -> Tensor:
    """(F, C, K, K) of a convolution by its dotted path.

    Raises:
        UserError: There is no such convolution.
    """
    named = {name: m for name, m in model.addressed_modules().items() if isinstance(m, nn.Conv2d)}
    if path not in named:
        raise unknown("convolution:", path, list(named))
    return named[path].weight


def _unfit(filters: Tensor) -> str | None:
    """Why filters cannot be compared, if they cannot."""
    count, _, height, width = filters.shape
    if count < 2:
        return "there is only one"
    if height != width or height < SMALLEST:
        return (
            f"they are {height} x {width}, where squares of {SMALLEST} x {SMALLEST} can be turned"
        )
    return None
