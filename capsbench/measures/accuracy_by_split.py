"""Measure ``accuracy-by-split``: accuracy on familiar and novel test images, and in view ranges."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, Self

import torch
from pydantic import Field, model_validator

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.measures import (
    Measure,
    MeasureConfig,
    MeasureContext,
    MeasureResult,
    Name,
    TestSplit,
    ValueSpec,
    index_name,
)
from capsbench.measures._config import require_distinct
from capsbench.measures._predictions import predict_split
from capsbench.measures._result import Array
from capsbench.measures._turned_alike import (
    MERGED,
    merged_quantity,
    reaches_further,
)
from capsbench.values import MERGED_ACCURACY, Quantity, Value
from capsbench.viewpoint.grid import GridView
from capsbench.viewpoint.ranges import ViewRange


class AccuracyBySplitConfig(MeasureConfig):
    """Arguments of `AccuracyBySplit`.

    Attributes:
        splits: ``familiar`` and ``novel`` images, as the data set and the training views define
            them; ``rearranged`` images, in which the objects' parts are displaced (Picasso test).
        ranges: Ranges of views by a name of their choice, such as ``outside``. Each test image is
            seen from one view of the range, the same for every model.
    """

    measure: Literal["accuracy-by-split"]
    splits: tuple[TestSplit, ...] = ("familiar",)
    ranges: dict[Name, ViewRange] = Field(default_factory=dict)

    @property
    def required_views(self) -> list[GridView | ViewRange]:
        """The ranges."""
        return list(self.ranges.values())

    @property
    def required_splits(self) -> tuple[TestSplit, ...]:
        """The splits."""
        return self.splits

    @property
    def num_progress_steps(self) -> int:
        """One step per split and range."""
        return len(self.splits) + len(self.ranges)

    @model_validator(mode="after")
    def _check(self) -> Self:
        require_distinct("splits", self.splits)
        if not (self.splits or self.ranges):
            raise ValueError("name a split or a range of views")
        if twice := set(self.splits) & self.ranges.keys():
            raise ValueError(f"a range cannot have the name of a split: {', '.join(twice)}")
        return self


class AccuracyBySplit(Measure[AccuracyBySplitConfig]):
    """Accuracy on whole splits, and on the test images at views of named ranges.

    Of a range that turns images by more than a quarter, and of a split if the views of training do,
    the accuracy with alike classes as one (6 and 9) is given beside the plain one.
    """

    config = AccuracyBySplitConfig
    revision = 3
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "accuracy": ValueSpec(
            "Share of the images of a split or range that are classified correctly; with several "
            "objects, images of which every object is recognized.",
            "share",
        ),
        MERGED_ACCURACY: MERGED,
        "object_accuracy": ValueSpec(
            "Share of the objects that are recognized, in images of several objects.", "share"
        ),
        "gap": ValueSpec(
            "Accuracy on familiar images minus accuracy on novel images.", "difference of shares"
        ),
    }

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: AccuracyBySplitConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the measure; see `Measure.compute`."""
        values: list[Value] = []
        per_image: dict[str, Array] = {}
        by_split: dict[str, Value] = {}
        for name in (*config.splits, *config.ranges):
            split = name if name in config.splits else "test"
            views = config.ranges.get(name)
            predictions = predict_split(model, data, split, views, context.device)
            correct, n = predictions.correct, len(predictions.correct)
            accuracy = Quantity(metric="accuracy", split=name)
            by_split[name] = accuracy.with_value(float(correct.mean()), n)
            values.append(by_split[name])
            per_image |= {accuracy.name: correct, index_name(name): predictions.index}
            drawn = data.default_views(split) if views is None else views
            if predictions.merged is not None and reaches_further(drawn):
                merged = merged_quantity(accuracy, data)
                values.append(merged.with_value(float(predictions.merged.mean()), n))
                per_image[merged.name] = predictions.merged
            if predictions.multiple_objects:
                by_object = Quantity(metric="object_accuracy", split=name)
                values.append(by_object.with_value(float(predictions.recall.mean()), n))
                per_image[by_object.name] = predictions.recall
            context.advance()
        if {"familiar", "novel"} <= by_split.keys():
            familiar, novel = by_split["familiar"], by_split["novel"]
            gap = Quantity(metric="gap")
            values.append(gap.with_value(familiar.value - novel.value, familiar.n + novel.n))
        return MeasureResult(values, per_image)
