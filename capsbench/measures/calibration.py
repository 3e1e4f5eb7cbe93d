"""Measure ``calibration``: agreement of probabilities and presences with the targets."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor

from capsbench.contracts import Model, class_recall, one_hot
from capsbench.data.batches import SplitName
from capsbench.data.images import ImageDataModule
from capsbench.measures import (
    Headline,
    Measure,
    MeasureConfig,
    MeasureContext,
    MeasureResult,
    TestSplit,
    ValueSpec,
    index_name,
)
from capsbench.measures._nonfinite import drop_nonfinite
from capsbench.measures._result import Array
from capsbench.measures._routing_agreement import correlate_presence_with_spread
from capsbench.measures._vote_spreads import CapsuleSpreads, record_vote_spreads
from capsbench.values import Quantity

if TYPE_CHECKING:
    from capsbench.metrics.calibration_error import Reliability

Numbers = Iterator[tuple[Quantity, Tensor, int]]
PER_CAPSULE = "presence_spread_correlation_per_capsule"
BEFORE_FIT = "confidence with exponent 1"


@dataclass(frozen=True)
class _Statement:
    """Confidences of one kind, which are compared with the accuracy.

    Attributes:
        of: Condition of the arrays of its bins.
        error: Metric of its calibration error.
        condition: Further conditions of its values and arrays.
    """

    of: str
    error: str
    condition: Mapping[str, float] = field(default_factory=dict)


STATEMENTS = {  # by the name of the output that holds the confidences
    "confidence": _Statement("class", "expected_calibration_error"),
    BEFORE_FIT: _Statement("class", "expected_calibration_error", {"exponent": 1.0}),
    "presences": _Statement("presence", "presence_calibration_error"),
}


class CalibrationConfig(MeasureConfig):
    """Arguments of `Calibration`.

    Attributes:
        splits: Splits of test images; all of their images are used.
        bins: Number of bins of confidence, of equal width (15 in Guo et al. 2017).
    """

    measure: Literal["calibration"]
    splits: tuple[TestSplit, ...] = Field(default=("familiar",), min_length=1)
    bins: int = Field(default=15, ge=1, le=1000)

    @property
    def required_splits(self) -> tuple[TestSplit, ...]:
        """The splits."""
        return self.splits

    @property
    def num_progress_steps(self) -> int:
        """One step per split."""
        return len(self.splits)


class Calibration(Measure[CalibrationConfig]):
    """Calibration of class probabilities and presences, and relation of presence and agreement.

    The presence of a capsule should follow from the agreement of the votes for it. The rank
    correlation of presence and spread is near -1 if a smaller spread always means a larger
    presence. With spread=absolute the spread is in the unit of the poses, with spread=relative
    relative to the length of the votes (article, eq. 9-11, 22 and 27).

    Probabilities have the exponent that was fitted on the validation images, see
    `capsbench.training.probability_exponent`. With exponent=1 they are those before the fit: the
    softmax of the logits, which of capsules with dynamic routing are presences divided by their
    sum. The most likely class is the same.

    Further arrays, for each split: ``targets``; ``presences`` (N, K) of the class capsules;
    ``capsule_presences``, ``absolute_spread`` and ``relative_spread`` (N, J) of the last capsules;
    ``bin_counts``, ``bin_confidence`` and ``bin_accuracy`` (bins,), of the most likely class
    (of=class, also with exponent=1) and of presences (of=presence).
    """

    config = CalibrationConfig
    revision = 2
    outputs = ("log-probabilities", "presences")
    source = "Naeini et al. 2015; Guo et al. 2017"
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "probability_exponent": ValueSpec(
            "Exponent of the probabilities, the inverse of a temperature: above 1 the model was "
            "less confident before the fit, below 1 more; 1 if none was fitted."
        ),
        "confidence": ValueSpec("Mean probability of the most likely class.", "share"),
        "accuracy": ValueSpec("Share of the images whose most likely class is correct.", "share"),
        "expected_calibration_error": ValueSpec(
            "Mean distance of accuracy and confidence over bins of the confidence of the most "
            "likely class.",
            "share",
        ),
        "presence_calibration_error": ValueSpec(
            "The same for the presence of each class capsule as the confidence that the class is "
            "in the image.",
            "share",
        ),
        "presence_spread_correlation": ValueSpec(
            "Rank correlation of the presence of the last capsules and the spread of the votes for "
            "them, over images and capsules together."
        ),
        PER_CAPSULE: ValueSpec(
            "Rank correlation over images of presence and spread, averaged over capsules."
        ),
    }
    headlines: ClassVar = tuple(
        Headline(
            Quantity(metric="expected_calibration_error", split=split),
            f"Calibration error on {split} images",
            lower_is_better=True,
        )
        for split in ("familiar", "novel")
    )

    @classmethod
    @torch.inference_mode()
    def compute(
        cls, config: CalibrationConfig, model: Model, data: ImageDataModule, context: MeasureContext
    ) -> MeasureResult:
        """Compute the measure; see `Measure.compute`."""
        exponent = Quantity(metric="probability_exponent")
        values = [exponent.with_value(float(model.probability_exponent), 0)]
        per_image: dict[str, Array] = {}
        notes: list[str] = []
        for split in config.splits:
            outputs = _evaluate(model, data, split, context.device)
            tables = _reliability(outputs, config.bins)
            finite, nonfinite = drop_nonfinite(_numbers(split, outputs, tables))
            values += finite
            notes += [*_missing(outputs), *nonfinite]
            for name, part in outputs.items():
                per_image[_array_name(split, name)] = part.numpy()
            for output, table in tables.items():
                statement = STATEMENTS[output]
                for name in ("counts", "confidence", "accuracy"):
                    bins = Quantity(
                        metric=f"bin_{name}",
                        split=split,
                        condition={"of": statement.of, **statement.condition},
                    )
                    per_image[bins.name] = getattr(table, name).numpy()
            context.advance()
        return MeasureResult(values, per_image, tuple(dict.fromkeys(notes)))


def top_probability(log_probabilities: Tensor) -> Tensor:
    """Return the probability (N,) in [0, 1] of the most likely class; 0 for an image with NaN.

    Args:
        log_probabilities: (N, K).
    """
    return log_probabilities.max(dim=-1).values.exp().nan_to_num(0)


def _evaluate(
    model: Model, data: ImageDataModule, split: SplitName, device: str
) -> dict[str, Tensor]:
    """Return the outputs for each image of a split by name, on the CPU, see `Calibration`."""
    parts: dict[str, list[Tensor]] = {}
    with record_vote_spreads(model) as spreads:
        for batch in data.evaluation.batches(split, device):
            prediction = model(batch.images)
            outputs = {"index": batch.index, "targets": batch.targets}
            if batch.targets.dim() == 1:
                logits = model.logits(prediction)
                outputs["accuracy"] = class_recall(logits, batch.targets) == 1
                outputs["confidence"] = top_probability(model.log_probabilities(prediction))
                outputs[BEFORE_FIT] = top_probability(logits.log_softmax(dim=-1))
            presences = prediction.presences
            if presences is not None and presences.shape == prediction.scores.shape:
                # A copy, because the next pass may overwrite presences that are a view of a buffer.
                outputs["presences"] = presences.to(torch.float32, copy=True)
            for name, part in outputs.items():
                parts.setdefault(name, []).append(part.cpu())
    joined = {name: torch.cat(part) for name, part in parts.items()}
    if spreads:
        last = CapsuleSpreads(*(torch.cat(part).cpu() for part in zip(*spreads, strict=True)))
        joined["capsule_presences"] = last.presences
        joined |= {"absolute_spread": last.absolute, "relative_spread": last.relative}
    return joined


def _reliability(outputs: Mapping[str, Tensor], bins: int) -> dict[str, Reliability]:
    """Return the reliability table of each statement that is defined, by the name of its output."""
    from capsbench.metrics.calibration_error import CalibrationError  # imports torchmetrics

    tables = {}
    for name in STATEMENTS:
        if (confidences := outputs.get(name)) is None:
            continue
        if name == "presences":
            correct = one_hot(outputs["targets"], confidences.shape[1])
        else:
            correct = outputs["accuracy"]
        metric = CalibrationError(bins, sync_on_compute=False)  # every process has all images
        metric.update(confidences, correct)
        tables[name] = metric.compute()
    return tables


def _numbers(
    split: str, outputs: Mapping[str, Tensor], tables: Mapping[str, Reliability]
) -> Numbers:
    """Yield each quantity of a split with its number and the number of images."""
    n = len(outputs["index"])
    if "accuracy" in outputs:
        yield Quantity(metric="accuracy", split=split), outputs["accuracy"].double().mean(), n
    for name, statement in STATEMENTS.items():
        if name not in tables:
            continue
        condition = dict(statement.condition)
        if statement.of == "class":
            confidence = Quantity(metric="confidence", split=split, condition=condition)
            yield confidence, outputs[name].double().mean(), n
        error = Quantity(metric=statement.error, split=split, condition=condition)
        yield error, tables[name].error, n
    if "capsule_presences" not in outputs:
        return
    for spread in ("absolute", "relative"):
        correlation = correlate_presence_with_spread(
            outputs["capsule_presences"], outputs[f"{spread}_spread"]
        )
        for metric, number in (
            ("presence_spread_correlation", correlation.pooled_spearman),
            (PER_CAPSULE, correlation.spearman.nanmean()),
        ):
            yield Quantity(metric=metric, split=split, condition={"spread": spread}), number, n


def _missing(outputs: Mapping[str, Tensor]) -> Iterator[str]:
    """Yield a note on each number that is not defined for the model or the images."""
    if "confidence" not in outputs:
        yield "the most likely class is not evaluated in images of several objects"
    if "presences" not in outputs:
        yield "presences are not evaluated: the model has no class capsules"
    if "capsule_presences" not in outputs:
        yield "presence is not compared with votes: the model has no routing layer with known votes"


def _array_name(split: str, output: str) -> str:
    """Return the name of the array of an output."""
    if output == "index":
        return index_name(split)
    if output == BEFORE_FIT:
        condition = dict(STATEMENTS[output].condition)
        return Quantity(metric="confidence", split=split, condition=condition).name
    return Quantity(metric=output, split=split).name
