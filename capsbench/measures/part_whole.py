"""Picasso test: objects with parts in each other's places."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal, NamedTuple

import torch
from torch import Tensor

from capsbench.contracts import Model, class_recall
from capsbench.data.batches import SplitName
from capsbench.data.images import ImageDataModule
from capsbench.measures._config import MeasureConfig, TestSplit
from capsbench.measures._measure import Headline, Measure, MeasureContext, ValueSpec
from capsbench.measures._result import Array, MeasureResult, index_name
from capsbench.values import Quantity

SEVERAL_OBJECTS = "not measured: images hold several objects"
NO_PRESENCE = "the model has no class capsules: presence is not compared"


class PartWholeConfig(MeasureConfig):
    """Arguments of the Picasso test: none."""

    measure: Literal["part-whole"]

    @property
    def required_splits(self) -> tuple[TestSplit, ...]:
        """The objects with rearranged parts."""
        return ("rearranged",)

    @property
    def num_progress_steps(self) -> int:
        """One step for the intact objects, one for the rearranged ones."""
        return 2


class PartWholeLoss(NamedTuple):
    """Decrease of a number, larger for more certainty, for rearranged parts; 0-d each.

    Attributes:
        intact: Mean over the intact objects.
        rearranged: Mean over the same objects with rearranged parts.
        loss: The difference, positive for a decrease.
        auroc: Probability that the number is larger for an intact object than for a rearranged one,
            of all pairs: 0.5 for a bag of parts, 1 for a model that knows how parts belong
            together.
    """

    intact: Tensor
    rearranged: Tensor
    loss: Tensor
    auroc: Tensor


def _certainty_metrics(metric: str, description: str) -> dict[str, ValueSpec]:
    return {
        metric: ValueSpec(f"{description}, averaged over images."),
        f"{metric}_loss": ValueSpec(f"{description}, of intact less of rearranged objects."),
        f"{metric}_auroc": ValueSpec(f"{description}: AUROC of intact against rearranged objects."),
    }


class PartWhole(Measure[PartWholeConfig]):
    """Loss of certainty about objects whose parts are in each other's places (the Picasso test).

    All test images are compared with the same objects with rearranged parts, from the same views. A
    bag of parts loses nothing. Compared are the accuracy, the probability of the true class, the
    confidence and, of a model with class capsules, the presence of the true class. Values with the
    condition ``parts`` are means over the intact or the rearranged objects.
    """

    config = PartWholeConfig
    revision = 2
    controlled = True  # rearranged parts overlap otherwise, which random features notice
    outputs = ("log-probabilities", "presences")
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "accuracy": ValueSpec("Share of images that are classified correctly.", "share"),
        "accuracy_loss": ValueSpec(
            "Accuracy of intact objects less that of rearranged ones.", "difference of shares"
        ),
        **_certainty_metrics("true_class_probability", "Probability of the true class"),
        **_certainty_metrics("confidence", "Probability of the most probable class"),
        **_certainty_metrics("presence", "Presence of the true class's capsule"),
    }
    headlines: ClassVar = (
        Headline(
            Quantity(metric="true_class_probability_auroc"),
            "Intact told from rearranged objects by the probability of the true class (AUROC)",
        ),
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls,
        config: PartWholeConfig,
        model: Model,
        data: ImageDataModule,
        context: MeasureContext,
    ) -> MeasureResult:
        """Compare intact and rearranged objects.

        Raises:
            UserError: The set does not record the parts of its objects.
        """
        intact, intact_index = _evaluate(model, data, "test", context.device)
        context.advance()
        rearranged, rearranged_index = _evaluate(model, data, "rearranged", context.device)
        context.advance()
        if not intact:
            return MeasureResult([], {}, (SEVERAL_OBJECTS,))
        order, other_order = intact_index.argsort(), rearranged_index.argsort()
        assert torch.equal(intact_index[order], rearranged_index[other_order])
        n = len(order)
        values, arrays = [], dict[str, Array]()
        arrays[index_name()] = intact_index[order].numpy()
        for metric in intact:
            pair = intact[metric][order], rearranged[metric][other_order]
            result = part_whole_loss(*pair)
            for parts, mean, each in zip(("intact", "rearranged"), result[:2], pair, strict=True):
                quantity = Quantity(metric=metric, condition={"parts": parts})
                values.append(quantity.with_value(float(mean), n))
                arrays[quantity.name] = each.numpy()
            loss = Quantity(metric=f"{metric}_loss")
            values.append(loss.with_value(float(result.loss), n))
            arrays[loss.name] = (pair[0] - pair[1]).numpy()
            if metric != "accuracy":
                auroc = Quantity(metric=f"{metric}_auroc")
                values.append(auroc.with_value(float(result.auroc), n))
        return MeasureResult(values, arrays, () if "presence" in intact else (NO_PRESENCE,))


def part_whole_loss(intact: Tensor, rearranged: Tensor) -> PartWholeLoss:
    """Compute the decrease of a number for rearranged parts.

    Args:
        intact: (N,) the number for each intact object.
        rearranged: (N,) the number for the same objects with rearranged parts.
    """
    from torchmetrics.functional.classification import binary_auroc

    both = torch.cat([intact, rearranged]).double()
    is_intact = torch.arange(len(both), device=both.device) < len(intact)
    means = intact.double().mean(), rearranged.double().mean()
    # Of ranks, since torchmetrics applies a sigmoid to scores outside of [0, 1].
    ranks = both.unique(return_inverse=True)[1].double()
    auroc = binary_auroc(ranks / ranks.max().clamp_min(1), is_intact.long())
    return PartWholeLoss(*means, means[0] - means[1], auroc)


def _evaluate(
    model: Model, data: ImageDataModule, split: SplitName, device: str
) -> tuple[dict[str, Tensor], Tensor]:
    """Return (N,) numbers of each image of a split by metric, and the images' numbers."""
    parts: dict[str, list[Tensor]] = {}
    index = []
    for batch in data.evaluation.batches(split, device):
        index.append(batch.index.cpu())
        if batch.targets.dim() == 2:
            continue
        prediction = model(batch.images)
        log_probabilities = model.log_probabilities(prediction)
        labels = batch.targets[:, None]
        numbers = {
            "accuracy": class_recall(model.logits(prediction), batch.targets),
            "true_class_probability": log_probabilities.gather(1, labels)[:, 0].exp(),
            "confidence": log_probabilities.max(dim=1).values.exp(),
        }
        presences = prediction.presences
        if presences is not None and presences.shape == prediction.scores.shape:
            numbers["presence"] = presences.gather(1, labels)[:, 0]
        for metric, each in numbers.items():
            parts.setdefault(metric, []).append(each.float().cpu())
    return {metric: torch.cat(each) for metric, each in parts.items()}, torch.cat(index)
