"""Measure ``averaged-accuracy``: accuracy of probabilities that are averaged over crops."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from capsbench.contracts import Model, class_recall
from capsbench.data.batches import SplitName
from capsbench.data.images import ImageDataModule
from capsbench.measures import (
    Measure,
    MeasureConfig,
    MeasureContext,
    MeasureResult,
    TestSplit,
    ValueSpec,
    index_name,
)
from capsbench.measures._result import Array
from capsbench.values import Quantity, Value
from capsbench.viewpoint.views import Views

CENTRE = (0.0, 0.0)


class AveragedAccuracyConfig(MeasureConfig):
    """Arguments of `AveragedAccuracy`.

    Attributes:
        splits: Splits of test images.
        shifts: Pixels, x and y, by which each crop is off the centre of the image. The default is
            the centre and the twelve crops around it of Hinton et al. (2018): 1, 2 and 3 pixels off
            along the diagonals, as in the authors' code.
    """

    measure: Literal["averaged-accuracy"]
    splits: tuple[TestSplit, ...] = Field(default=("familiar",), min_length=1)
    shifts: tuple[tuple[float, float], ...] = Field(
        default=((0, 0), *((i * a, j * a) for a in (1, 2, 3) for i in (-1, 1) for j in (-1, 1))),
        min_length=1,
    )

    @property
    def required_splits(self) -> tuple[TestSplit, ...]:
        """The splits."""
        return self.splits

    @property
    def num_progress_steps(self) -> int:
        """One step per crop of each split."""
        return len(self.splits) * len(self.shifts)


class AveragedAccuracy(Measure[AveragedAccuracyConfig]):
    """Accuracy of the mean of the class probabilities over several crops of each test image.

    Hinton et al. average the activations of the class capsules. The probabilities are therefore
    those before the fit of an exponent.
    """

    config = AveragedAccuracyConfig
    source = "Hinton et al. 2018, section 4"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "accuracy": ValueSpec(
            "Share of the images that are classified correctly: with crops=averaged by the mean "
            "over the crops, with crops=single by the crop in the centre alone, if it is one of "
            "them.",
            "share",
        ),
    }

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: AveragedAccuracyConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compute the measure; see `Measure.compute`."""
        values: list[Value] = []
        per_image: dict[str, Array] = {}
        for split in config.splits:
            crops, targets = list[Tensor](), torch.empty(0)
            for shift in config.shifts:
                view = Views.identity(1).with_shift(shift)
                probabilities, targets = _classify(model, data, split, view, context.device)
                crops.append(probabilities)
                context.advance()
            by_crops = {"averaged": torch.stack(crops).mean(dim=0)}
            if CENTRE in config.shifts:
                by_crops["single"] = crops[config.shifts.index(CENTRE)]
            for name, probabilities in by_crops.items():
                correct = class_recall(probabilities, targets) == 1
                accuracy = Quantity(metric="accuracy", split=split, condition={"crops": name})
                values.append(accuracy.with_value(float(correct.float().mean()), len(correct)))
                per_image[accuracy.name] = correct.numpy()
            per_image[index_name(split)] = data.split(split).index.numpy()
        return MeasureResult(values, per_image)


def _classify(
    model: Model, data: ImageDataModule, split: SplitName, view: Views, device: str
) -> tuple[Tensor, Tensor]:
    """Return (N, K) probabilities of a split's images at a view and their targets, on the CPU."""
    probabilities, targets = list[Tensor](), list[Tensor]()
    for batch in data.evaluation.batches(split, device, view):
        probabilities.append(model.logits(model(batch.images)).softmax(dim=-1))
        targets.append(batch.targets)
    return torch.cat(probabilities).cpu(), torch.cat(targets).cpu()
