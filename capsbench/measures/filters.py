"""Rotated copies among the first filters of a model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import NotMeasuredError, unknown
from capsbench.measures._config import MeasureConfig
from capsbench.measures._filter_copies import MIN_SIZE, rotated_copies
from capsbench.measures._measure import Measure, MeasureContext, ValueSpec
from capsbench.measures._result import MeasureResult
from capsbench.values import Quantity
from capsbench.wrapping import LogitsModel


class FiltersConfig(MeasureConfig):
    """Arguments of the comparison of filters.

    Attributes:
        layer: Dotted path of a convolution of the model. Default: the first one that takes the
            image.
        null: Random filters of the null distribution: ``phases`` keeps the spectrum of the true
            ones, ``pixels`` only their weights.
        sets: Number of sets of random filters.
    """

    measure: Literal["filters"]
    layer: str | None = None
    null: Literal["phases", "pixels"] = "phases"
    sets: int = Field(default=20, ge=1)

    @property
    def num_progress_steps(self) -> int:
        """A single step."""
        return 1


class Filters(Measure[FiltersConfig]):
    """Share of the first convolution's filters that are rotated and scaled copies of others.

    The similarity of a filter is its cosine with the best copy of another filter. A filter counts
    as a copy if its similarity exceeds that of 95 % of random filters, so that the share is 5 % by
    chance: the random filters are the control, and no untrained network is measured. No test image
    takes part. Per-image arrays hold the similarity, the copied filter, the angle in degrees and
    the scale of each filter, and the similarities of the random filters.
    """

    config = FiltersConfig
    revision = 2
    outputs = ()
    source = "the article, 'Data Augmentation', after Zeiler & Fergus (2013)"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "copy_share": ValueSpec("Share of filters that are copies of others.", "share"),
        "similarity_threshold": ValueSpec("95 % quantile of the similarity of random filters."),
        "similarity": ValueSpec("Mean similarity of the filters."),
        "random_similarity": ValueSpec("Mean similarity of the random filters."),
        "filters": ValueSpec("Number of filters that are not constant.", "count"),
    }

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: FiltersConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compare the filters of a convolution.

        Raises:
            NotMeasuredError: The layer is not a convolution, or its weights are not finite.
        """
        filters = (
            _first_filters(model) if config.layer is None else _filters_of(model, config.layer)
        )
        problem = _problem(filters)
        if filters is None or problem:
            context.advance()
            return MeasureResult([], {}, (f"No filters are compared: {problem}.",))
        finite = filters.isfinite().flatten(start_dim=1).all(dim=1)
        if not finite.all():
            count = int((~finite).sum())
            raise NotMeasuredError(f"{count} of {len(filters)} filters are not finite")
        copies = rotated_copies(filters, null=config.null, null_sets=config.sets)
        context.advance()
        varying = copies.similarity.isfinite()
        if not varying.any():
            return MeasureResult([], {}, ("No filters are compared: none of them varies.",))
        numbers = {
            "copy_share": copies.share,
            "similarity_threshold": copies.threshold,
            "similarity": copies.similarity.nanmean(),
            "random_similarity": copies.random_similarity.nanmean(),
            "filters": varying.sum(),
        }
        values = [
            Quantity(metric=name).with_value(float(each), 0) for name, each in numbers.items()
        ]
        arrays = {
            "filter_similarity": copies.similarity,
            "copied_filter": copies.source,
            "copy_angle": copies.angle,
            "copy_scale": copies.scale,
            "random_filter_similarity": copies.random_similarity,
        }
        return MeasureResult(values, {name: each.cpu().numpy() for name, each in arrays.items()})


def _first_filters(model: Model) -> Tensor | None:
    """Return (F, C, K, K) of the first convolution with the channels of the image, or None."""
    channels = model.channels if isinstance(model, LogitsModel) else model.image_shape[0]
    layers = (module for module in model.modules() if isinstance(module, nn.Conv2d))
    weights = (layer.weight for layer in layers if layer.in_channels == channels)
    return next(weights, None)


def _filters_of(model: Model, path: str) -> Tensor:
    """Return (F, C, K, K) of a convolution by its dotted path.

    Raises:
        NotMeasuredError: There is no such convolution.
    """
    layers = {name: m for name, m in model.addressed_modules().items() if isinstance(m, nn.Conv2d)}
    if path not in layers:
        raise NotMeasuredError(str(unknown("convolution:", path, list(layers))))
    return layers[path].weight


def _problem(filters: Tensor | None) -> str | None:
    """Return the reason why filters cannot be compared, if there is one."""
    if filters is None:
        return "the model has no convolution of the image"
    count, _, height, width = filters.shape
    if count < 2:
        return "there is only one"
    if height != width or height < MIN_SIZE:
        return (
            f"they are {height} x {width}, but squares of at least {MIN_SIZE} x {MIN_SIZE} are "
            "needed"
        )
    return None
