"""Results without the values that a model's outputs do not support."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import torch

from capsbench.contracts import Model
from capsbench.data.images import ImageDataModule
from capsbench.errors import NotMeasuredError, UserError
from capsbench.measures._config import MeasureConfig
from capsbench.measures._image_gradients import absent_gradients
from capsbench.measures._measure import Measure, MeasureContext
from capsbench.measures._nonfinite import first_names
from capsbench.measures._observations import LOG_PROBABILITIES, Observations, Output, observe
from capsbench.measures._result import MeasureResult
from capsbench.values import Quantity

# What arithmetic on NaN and infinity raises: a linear system without a solution (RuntimeError of
# torch, ValueError of NumPy), 0/0 in Python, or a number outside of its range.
ARITHMETIC = (UserError, RuntimeError, ValueError, ArithmeticError)


def compute_checked(
    measure: type[Measure[Any]],
    config: MeasureConfig,
    model: Model,
    data: ImageDataModule,
    context: MeasureContext,
) -> MeasureResult:
    """Compute a measure without the values that the model's outputs do not support.

    A value is left out if an output that it is computed from is not finite for one of the images,
    or if it needs a gradient with respect to the image that does not exist. Notes have the reasons,
    and those of the context on each model that was run.

    Args:
        measure: The measure, which declares what its values are computed from.
        config: Its arguments.
        model: The model.
        data: The data module.
        context: Device, progress, source models and notes.

    Raises:
        NotMeasuredError: The model lacks a part that the measure needs.
    """
    models: dict[str | None, Model] = {None: model}
    models.update(context.sources)
    with observe(models, measure.outputs) as observations:
        try:
            result = measure.compute(config, model, data, context)
        except (NotMeasuredError, torch.OutOfMemoryError):
            raise
        except ARITHMETIC:
            if not observations.nonfinite():
                raise
            result = MeasureResult((), {})
    outputs = {value.name: _outputs_of(measure, value) for value in result.values}
    reasons = observations.nonfinite()
    finite = [needed for needed in outputs.values() if reasons.keys().isdisjoint(needed)]
    gradients = dict.fromkeys(each for needed in finite for each in needed if each.is_gradient)
    reasons |= _absent(gradients, observations, models, data, context)
    result = _without(result, outputs, reasons)
    if not result.values:
        return result
    sources = dict.fromkeys(output.source for output in observations.outputs)
    notes = [
        note if source is None else f"{source}: {note}"
        for source in sorted(sources, key=lambda source: source or "")
        for note in context.model_notes(models[source])
    ]
    return result._replace(notes=(*result.notes, *notes))


def _outputs_of(measure: type[Measure[Any]], quantity: Quantity) -> tuple[Output, ...]:
    """Return the outputs, and the gradient, that a value is computed from."""
    if quantity.layer is not None:
        outputs = [Output(quantity.layer, is_layer=True)]
        differentiated = outputs[0]
    else:
        sources = {None, quantity.source}
        outputs = [Output(name, source=source) for name in measure.outputs for source in sources]
        differentiated = Output(LOG_PROBABILITIES, source=quantity.source)
    if measure.needs_gradient(quantity):
        outputs.append(differentiated._replace(is_gradient=True))
    return tuple(outputs)


def _absent(
    gradients: Iterable[Output],
    observations: Observations,
    models: Mapping[str | None, Model],
    data: ImageDataModule,
    context: MeasureContext,
) -> dict[Output, str]:
    """Return the reason for each gradient that does not exist.

    A gradient exists where the measure itself has met a derivative; others are searched.
    """
    searched: dict[str | None, list[Output]] = {}
    for gradient in gradients:
        if not observations.has_derivative(gradient):
            searched.setdefault(gradient.source, []).append(gradient)
    absent: dict[Output, str] = {}
    for source, outputs in searched.items():
        absent |= absent_gradients(models[source], outputs, data, context.device)
    return absent


def _without(
    result: MeasureResult,
    outputs: Mapping[str, tuple[Output, ...]],
    reasons: Mapping[Output, str],
) -> MeasureResult:
    """Return a result without the values of some outputs, and with the reasons as notes.

    Args:
        result: The result.
        outputs: The outputs and gradients that each value depends on, by its name.
        reasons: The reason for each output whose values are left out.
    """
    if not reasons:
        return result
    dropped = {name for name, needed in outputs.items() if not reasons.keys().isdisjoint(needed)}
    values = [value for value in result.values if value.name not in dropped]
    if not values:  # other notes are consequences, such as 0/0
        notes = tuple(f"not measured: {reason}" for reason in reasons.values())
        return MeasureResult((), {}, tuple(dict.fromkeys(notes)))
    notes = result.notes
    for output, reason in reasons.items():
        names = [name for name, needed in outputs.items() if output in needed]
        notes += (f"not measured: {reason}" + (f": {first_names(names)}" if names else ""),)
    arrays = {name: array for name, array in result.per_image.items() if name not in dropped}
    return MeasureResult(values, arrays, notes)
