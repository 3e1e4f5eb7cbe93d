"""Untrained control: a measure of the same network before training, beside its own values.

Random weights already move maps with the image, keep the view, and change smoothly with it. Only
what training adds to such a number was learned. The control has the initial weights of the very
training and the schedules of the trained network, and sees the same images.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import NotMeasuredError
from capsbench.measures._activations import without_pixels
from capsbench.measures._checked_result import compute_checked
from capsbench.measures._config import MeasureConfig
from capsbench.measures._measure import Measure, MeasureContext
from capsbench.measures._result import MeasureResult

UNKNOWN = (
    "not measured: the untrained control, because the initial weights of the network are not known"
)


def compute_with_control(
    measure: type[Measure[Any]],
    config: MeasureConfig,
    model: Model,
    data: ImageDataModule,
    context: MeasureContext,
) -> MeasureResult:
    """Compute a measure and, if it is controlled, the same of the network before training.

    Args:
        measure: The measure.
        config: Its arguments.
        model: The trained model.
        data: The data module.
        context: Device, progress, source models, notes, and the network before training.
    """
    if not measure.controlled or context.untrained is None:
        result = _compute(measure, config, model, data, context)
        unknown = measure.controlled and result.values
        return result._replace(notes=(*result.notes, UNKNOWN)) if unknown else result
    with data.evaluation.kept_batches():
        result = _compute(measure, config, model, data, context)
        if not result.values:
            return result
        # Notes on random draws and on batches are those of the trained network.
        alone = replace(context, model_notes=lambda _: (), untrained=None)
        with without_pixels():  # which are the same, and no layer of the network
            control = _compute(measure, config, context.untrained, data, alone)
    return with_control(result, control)


def with_control(result: MeasureResult, control: MeasureResult) -> MeasureResult:
    """Return a result with the values of the untrained network, under a condition of their own.

    Of per-image arrays, those of values are kept: the images are the same. Notes that both have
    appear once.

    Args:
        result: Result of the trained network.
        control: Result of the network before training.
    """
    arrays = {
        value.of_untrained().name: control.per_image[value.name]
        for value in control.values
        if value.name in control.per_image
    }
    notes = (f"untrained network: {note}" for note in control.notes if note not in result.notes)
    return MeasureResult(
        [*result.values, *(value.of_untrained() for value in control.values)],
        result.per_image | arrays,
        (*result.notes, *notes),
    )


def _compute(
    measure: type[Measure[Any]],
    config: MeasureConfig,
    model: Model,
    data: ImageDataModule,
    context: MeasureContext,
) -> MeasureResult:
    """Compute a measure of one network; what it lacks is a note."""
    try:
        return compute_checked(measure, config, model, data, context)
    except NotMeasuredError as reason:
        return MeasureResult((), {}, (f"not measured: {reason}",))
