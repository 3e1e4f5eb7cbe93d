"""Measure ``cost``: size and operations of a model, and its speed and memory on this device."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import deepcopy
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from capsbench.contracts import Model, Prediction
from capsbench.data.images import ImageDataModule
from capsbench.errors import in_one_line
from capsbench.measures import (
    Measure,
    MeasureConfig,
    MeasureContext,
    MeasureResult,
    TestSplit,
    ValueSpec,
)
from capsbench.measures._image_subset import familiar_batches, subset_rows
from capsbench.measures._result import Array
from capsbench.profiling.model_cost import model_cost
from capsbench.profiling.peak_memory import peak_bytes
from capsbench.profiling.timing import seconds_per_call
from capsbench.values import Quantity, Value


class CostConfig(MeasureConfig):
    """Arguments of `Cost`.

    Attributes:
        batch_size: Largest number of images in the batch whose speed and memory are measured.
        repeats: Number of timed batches, after two untimed ones; the median counts.
    """

    measure: Literal["cost"]
    batch_size: int = Field(default=100, ge=1)
    repeats: int = Field(default=5, ge=1)

    @property
    def required_splits(self) -> tuple[TestSplit, ...]:
        """The familiar images."""
        return ("familiar",)

    @property
    def num_progress_steps(self) -> int:
        """One step each for counting, inference and training."""
        return 3


class Cost(Measure[CostConfig]):
    """Parameters and operations of a model, and its speed and memory on this device.

    With phase=inference a batch of test images is classified; with phase=training a batch of
    training images goes forward and backward, without the optimizer and without making the batch.
    A copy is trained, not the model. Speed depends on the other load of the machine. Memory is not
    measured on MPS devices.

    Further arrays: ``seconds[phase=...]`` (repeats,), the time of each batch.
    """

    config = CostConfig
    outputs = ()
    metrics: ClassVar[Mapping[str, ValueSpec]] = {
        "parameters": ValueSpec("Number of parameters.", "count"),
        "decoder_parameters": ValueSpec(
            "Number of parameters of the decoder, which only the reconstruction needs.", "count"
        ),
        "flops": ValueSpec(
            "Floating-point operations of a forward pass of one image: those of convolutions and "
            "matrix products, a multiply-add counted as two.",
            "count",
        ),
        "vote_bytes": ValueSpec(
            "Bytes of all votes for one image in float32, stored or not: of a routing layer, or of "
            "all of them.",
            "bytes",
        ),
        "images_per_second": ValueSpec("Speed.", "per second"),
        "peak_bytes": ValueSpec(
            "Largest memory in use beyond that of the model and the images.", "bytes"
        ),
    }

    @classmethod
    def compute(
        cls, config: CostConfig, model: Model, data: ImageDataModule, context: MeasureContext
    ) -> MeasureResult:
        """Compute the measure; see `Measure.compute`."""
        values = _counts(model)
        context.advance()
        device = context.device
        rows = subset_rows(data, config.batch_size)
        images = next(familiar_batches(data, device, rows, batch_size=config.batch_size)).images
        phases = {"inference": _classification(model, images)}
        problem = "the model has no parameters to train"
        if any(parameter.requires_grad for parameter in model.parameters()):
            phases["training"] = _training_step(model, data, device)
        measures_memory = torch.device(device).type != "mps"
        per_image: dict[str, Array] = {}
        for phase, (step, prepare, count) in phases.items():
            condition = {"phase": phase}
            try:
                seconds = seconds_per_call(step, device, config.repeats, prepare)
            except RuntimeError as error:  # of torch, such as a loss without gradient
                if phase == "inference":
                    raise
                problem = in_one_line(error, type(model).__module__)
                break
            per_image[Quantity(metric="seconds", condition=condition).name] = np.array(seconds)
            rate = Quantity(metric="images_per_second", condition=condition)
            values.append(rate.with_value(count / float(np.median(seconds)), count))
            if measures_memory:
                prepare()
                memory = Quantity(metric="peak_bytes", condition=condition)
                values.append(memory.with_value(peak_bytes(step, device), count))
            context.advance()
        notes: tuple[str, ...] = ()
        if not measures_memory:
            notes += ("peak memory is not measured on MPS devices",)
        if "seconds[phase=training]" not in per_image:
            context.advance()
            notes += (f"training is not measured: {problem}",)
        return MeasureResult(values, per_image, notes)


def _counts(model: Model) -> list[Value]:
    """Return the numbers that do not depend on the device."""
    cost = model_cost(model)
    values = [
        Quantity(metric="parameters").with_value(cost.parameters, 0),
        Quantity(metric="flops").with_value(cost.flops, 0),
    ]
    if cost.decoder_parameters is not None:
        values.append(Quantity(metric="decoder_parameters").with_value(cost.decoder_parameters, 0))
    if by_layer := cost.vote_bytes(1):
        values.append(Quantity(metric="vote_bytes").with_value(sum(by_layer.values()), 0))
        values += [
            Quantity(metric="vote_bytes", layer=layer).with_value(count, 0)
            for layer, count in by_layer.items()
        ]
    return values


class _Step(NamedTuple):
    """A step whose cost is measured.

    The copy of the images, which a model gets because it may change them, is no part of the cost of
    a network. So it is made before the step.

    Attributes:
        run: Function of the step.
        prepare: Function that sets the copy to the images, before each step.
        num_images: Number of images.
    """

    run: Callable[[], None]
    prepare: Callable[[], object]
    num_images: int


def _classification(model: Model, images: Tensor) -> _Step:
    """Return the classification of images."""
    copy = images.clone()

    @torch.inference_mode()
    def step() -> None:
        model.log_probabilities(_without_copy(model, copy))

    return _Step(step, lambda: copy.copy_(images), len(images))


def _training_step(model: Model, data: ImageDataModule, device: str) -> _Step:
    """Return a training step of a copy of the model, without the optimizer."""
    stored = next(iter(data.train_dataloader()))
    moved = stored.to(device)
    batch = data.on_after_batch_transfer(moved, 0)
    learner = deepcopy(model).train()
    copy = batch.images.clone()

    def step() -> None:
        with torch.enable_grad():
            learner.loss(_without_copy(learner, copy), batch, 0.0).backward()
        learner.zero_grad()

    return _Step(step, lambda: copy.copy_(batch.images), len(batch.targets))


def _without_copy(model: Model, images: Tensor) -> Prediction:
    """Call a model on the images themselves."""
    prediction: Prediction = nn.Module.__call__(model, images)
    return prediction
